// What the CUDA kernels take, in numbers: kernels are compiled for them, and capabilities.h says them to callers.
#pragma once

#include <cstdint>

namespace onehead::cuda {

/** Sizes of a head: multiples of the step. */
constexpr int64_t leastAttentionHeadSize = 16, mostAttentionHeadSize = 128, attentionHeadSizeStep = 16;
/** Attention's rows begin at multiples of so many bytes: they are loaded in vectors. */
constexpr int64_t attentionAlignment = 16;
/** Rows of one kernel for attention and the product before it: projected_attention.cu. */
constexpr int64_t projectedAttentionRows = 8;

}  // namespace onehead::cuda
