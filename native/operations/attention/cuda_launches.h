// What other families take of this one's launches.
#pragma once

#include "cuda/preparation.h"

namespace onehead::cuda {

/** The arguments of the kernels of attention, without the scratch memory. */
AttentionArguments attentionOf(const Preparation& p, const Attention& o);

}  // namespace onehead::cuda
