// What other families take of this one's launches.
#pragma once

#include "cuda/preparation.h"

namespace onehead::cuda {

/** The arguments of the kernels of attention, without the scratch memory. Throws Error NOT_SUPPORTED. */
AttentionArguments attentionOf(Preparation& p, const Attention& o);

}  // namespace onehead::cuda
