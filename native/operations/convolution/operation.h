// The description of convolution over time. ../operations.h explains the letters of shapes.
#pragma once

#include <optional>

#include "core/capabilities.h"
#include "core/kinds.h"
#include "core/tensor.h"

namespace onehead {

/** x [B, T, C], weight [O, C, K] -> y [B, T', O] with T' = (T + 2 * padding - K) / stride + 1. The residual [T', O] is
 * added after the activation. */
struct Convolution {
  Tensor x, weight;
  std::optional<Tensor> bias, residual;
  int64_t stride, padding;
  Activation activation;
  Tensor y;
  void tensors(auto visit) const { visit(x, weight, bias, residual, y); }
  void written(auto visit) const { visit(y); }
  Reasons notSupported(const Capabilities& device) const;
};

#define ONEHEAD_CONVOLUTION_OPERATIONS(operation) operation(Convolution, convolution)

}  // namespace onehead
