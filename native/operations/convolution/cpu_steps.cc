#include "cpu/preparation.h"
#include "cpu/products.h"

namespace onehead::cpu {

void prepare(Preparation& p, const onehead::Convolution& o) {
  p.type(o.x);  // refuses what the CPU does not multiply
  if (!o.weight.storage) p.unsupported("the CPU device takes the weight from a loaded constant, not from a temporary.");
  p.add(convolutionProduct(o, p.engine, p.stream, p));
}

}  // namespace onehead::cpu
