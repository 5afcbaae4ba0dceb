// What other families take of this one's launches.
#pragma once

#include "cuda/preparation.h"

namespace onehead::cuda {

/** The arguments of the kernels for few rows, for x as it is. */
FewRowsArguments fewRowsOf(Preparation& p, const Linear& o);

}  // namespace onehead::cuda
