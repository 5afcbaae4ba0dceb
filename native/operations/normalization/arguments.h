// The arguments of the norm kernels of both backends.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/kinds.h"

namespace onehead {

/** y = (x - mean) / sqrt(variance + epsilon) * weight + bias, over the last dimension. */
struct LayerNormArguments {
  int64_t rows, width;
  const float* x;
  const float* weight;
  const float* bias;
  float epsilon;
  void* y;
  DType yType;
  bool weightChanges = true;  // an earlier kernel may write weight or bias (CUDA)
};

#define ONEHEAD_NORMALIZATION_KERNELS(kernel, withScratch) kernel(LayerNorm, layerNorm)

}  // namespace onehead
