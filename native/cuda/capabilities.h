// What the CUDA backend computes. A build without CUDA knows it too, to answer whether a GPU could compute something.
#pragma once

#include "../core/capabilities.h"
#include "kernels/limits.h"

namespace onehead::cuda {

/** Of any GPU; a device that is open knows its shared memory besides. */
inline Capabilities capabilities() {
  return {.device = "cuda",
          .title = "CUDA",
          .types = {DType::float32, DType::float16, DType::bfloat16},
          .headSizes = {.least = leastAttentionHeadSize, .most = mostAttentionHeadSize, .step = attentionHeadSizeStep},
          .rowAlignment = attentionAlignment,
          .projectedRows = projectedAttentionRows};
}

}  // namespace onehead::cuda
