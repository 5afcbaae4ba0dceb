// Matrix products with a weight. Shapes, and rows of a pool: ../operations.h.
#pragma once

#include <optional>

#include "core/capabilities.h"
#include "core/kinds.h"
#include "core/tensor.h"
#include "operations/normalization/arguments.h"

namespace onehead {

class Addresses;

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
  static constexpr bool takesQuantizedWeights = true;
  void tensors(auto visit) const { visit(x, weight, bias, normWeight, normBias, residual, y, weightScales); }
  void written(auto visit) const { visit(y); }
  Reasons notSupported(const Capabilities& device) const;
};

/** The norm before a product, to `yType`; where its y lies, the caller says. */
LayerNormArguments normOf(const Addresses& p, const Linear& o, DType yType);

#define ONEHEAD_LINEAR_OPERATIONS(operation) operation(Linear, linear)

}  // namespace onehead
