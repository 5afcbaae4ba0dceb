#include "cpu/preparation.h"

namespace onehead::cpu {

void prepare(Preparation& p, const LogMel& o) { p.kernel(argumentsOf(p, o), p.kernels.logMel); }

}  // namespace onehead::cpu
