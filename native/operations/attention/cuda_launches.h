// The part of attention's launches that fused operations use as well.
#pragma once

#include "cuda/preparation.h"

namespace onehead::cuda {

/** The kernels' arguments, except for scratch memory and counters. */
AttentionArguments attentionOf(const Preparation& p, const Attention& o);

}  // namespace onehead::cuda
