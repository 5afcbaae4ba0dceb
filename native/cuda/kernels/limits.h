// Limits of the CUDA kernels, which are compiled for them; capabilities.h reports them.
#pragma once

#include <cstdint>

namespace onehead::cuda {

/** Head sizes are multiples of the step. */
constexpr int64_t minAttentionHeadSize = 16, maxAttentionHeadSize = 128, attentionHeadSizeStep = 16;
/** Alignment of attention's rows, in bytes: they are loaded as vectors. */
constexpr int64_t attentionAlignment = 16;
/** The most keys that a range of a pool is expected to have: those of a window of 30 s. The pool holds many ranges, so
 * its size says little. Only for choosing how to launch; ranges may be longer. */
constexpr int expectedRange = 1500;

}  // namespace onehead::cuda
