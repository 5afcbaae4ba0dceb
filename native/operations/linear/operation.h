// Matrix products with a weight. Shapes, and rows of a pool: ../operations.h.
#pragma once

#include <optional>

#include "core/kinds.h"
#include "core/tensor.h"

namespace onehead {

/**
 * activation(norm(x) weight^T + bias) + residual: x [..., K], weight [N, K], residual and y [..., N].
 * An int8 weight has weightScales float32 [N], each of which its row is multiplied by. With `quantized` each row of x
 * becomes int8 too, under a scale of its own (the largest magnitude / 127); otherwise x is multiplied as it is. A GPU
 * leaves up to 64 rows as they are in either case: the weight's bytes are all that counts there.
 */
struct Linear {
  Tensor x, weight;
  std::optional<Tensor> bias, normWeight, normBias, residual;
  float epsilon;
  Activation activation;
  Tensor y;
  std::optional<Tensor> weightScales;
  bool quantized = false;
  void tensors(auto visit) const { visit(x, weight, bias, normWeight, normBias, residual, y, weightScales); }
  void written(auto visit) const { visit(y); }
};

#define ONEHEAD_LINEAR_OPERATIONS(operation) operation(Linear, linear)

}  // namespace onehead
