#include "cpu/preparation.h"

namespace onehead::cpu {

void prepare(Preparation& p, const AlignPositions& o) { p.kernel(argumentsOf(p, o), p.kernels.alignPositions); }

void prepare(Preparation& p, const AddWeights& o) { p.kernel(argumentsOf(p, o), p.kernels.addWeights); }

}  // namespace onehead::cpu
