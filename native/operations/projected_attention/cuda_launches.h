// What other families take of this one's launches.
#pragma once

#include "cuda/preparation.h"

namespace onehead::cuda {

/** The arguments of the kernel for both, as far as one takes them. */
ProjectedAttentionArguments projectedOf(Preparation& p, const ProjectedAttention& o);

}  // namespace onehead::cuda
