#include "cpu/preparation.h"

namespace onehead::cpu {

void prepare(Preparation& p, const LayerNorm& o) { p.kernel(argumentsOf(p, o), p.kernels.layerNorm); }

}  // namespace onehead::cpu
