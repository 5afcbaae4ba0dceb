// The part of projectedAttention's launches that the decoder layer uses as well.
#pragma once

#include "cuda/preparation.h"

namespace onehead::cuda {

/** The arguments of the fused kernel, whether or not it supports them. */
ProjectedAttentionArguments projectedOf(Preparation& p, const ProjectedAttention& o);

}  // namespace onehead::cuda
