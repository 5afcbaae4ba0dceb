#include "cuda/preparation.h"

namespace onehead::cuda {

void prepare(Preparation& p, const LayerNorm& o) { p.kernel(argumentsOf(p, o), layerNorm); }

}  // namespace onehead::cuda
