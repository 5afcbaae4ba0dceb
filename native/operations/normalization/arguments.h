// What the kernels of a norm take, on either backend.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/kinds.h"

namespace onehead {

class Addresses;
struct LayerNorm;

/** y = (x - mean) / sqrt(variance + epsilon) * weight + bias, over the last dimension. */
struct LayerNormArguments {
  int64_t rows, width;
  const float* x;
  const float* weight;
  const float* bias;
  float epsilon;
  void* y;
  DType yType;
};

/** Of an operation whose tensors lie there. What only one backend has, it fills in. */
LayerNormArguments argumentsOf(const Addresses& p, const LayerNorm& o);

}  // namespace onehead
