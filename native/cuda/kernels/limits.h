// Limits of the CUDA kernels, which are compiled for them; capabilities.h reports them.
#pragma once

#include <cstdint>

namespace onehead::cuda {

/** Head sizes are multiples of the step. */
constexpr int64_t minAttentionHeadSize = 16, maxAttentionHeadSize = 128, attentionHeadSizeStep = 16;
/** Alignment of attention's rows, in bytes: they are loaded as vectors. */
constexpr int64_t attentionAlignment = 16;

}  // namespace onehead::cuda
