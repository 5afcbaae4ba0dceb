// The description of layer norm, over the last dimension.
#pragma once

#include <optional>

#include "arguments.h"
#include "core/capabilities.h"
#include "core/kinds.h"
#include "core/tensor.h"

namespace onehead {

struct LayerNorm {
  Tensor x, weight, bias;
  float epsilon;
  Tensor y;
  void tensors(auto visit) const { visit(x, weight, bias, y); }
  void written(auto visit) const { visit(y); }
  Reasons notSupported(const Capabilities& device) const;
};

#define ONEHEAD_NORMALIZATION_OPERATIONS(operation) ONEHEAD_NORMALIZATION_KERNELS(operation, operation)

}  // namespace onehead
