// What the CUDA backend supports. Builds without CUDA include it too, to answer what a GPU could compute.
#pragma once

#include "../core/capabilities.h"
#include "kernels/limits.h"

namespace onehead::cuda {

/** The capabilities of any GPU; an open device also reports its shared memory. */
inline Capabilities capabilities() {
  return {
      .device = "cuda",
      .title = "CUDA",
      .types = {DType::float32, DType::float16, DType::bfloat16},
      .headSizes = {.minimum = minAttentionHeadSize, .maximum = maxAttentionHeadSize, .step = attentionHeadSizeStep},
      .rowAlignment = attentionAlignment};
}

}  // namespace onehead::cuda
