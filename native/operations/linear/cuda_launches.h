// The part of linear's launches that fused operations use as well.
#pragma once

#include "cuda/preparation.h"

namespace onehead::cuda {

/** The arguments of the kernels for few rows, with x and its norm as in the operation. */
FewRowsArguments fewRowsOf(Preparation& p, const Linear& o);

}  // namespace onehead::cuda
