// The description of matrix products with a weight. ../operations.h explains the letters of shapes.
#pragma once

#include <optional>

#include "core/capabilities.h"
#include "core/kinds.h"
#include "core/tensor.h"
#include "operations/normalization/arguments.h"

namespace onehead {

class Addresses;

/**
 * y = activation(norm(x) weight^T + bias) + residual: x [..., K], weight [N, K], residual and y [..., N].
 * An int8 weight has weightScales float32 [N], one for each row. With `quantized` each row of x becomes int8 too, with
 * its own scale (largest magnitude / 127); otherwise x is not rounded. A GPU never quantizes up to 64 rows, since the
 * bytes of the weight are the bound there.
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

/** The layer norm before a product, with output type `yType`. The caller sets y. */
LayerNormArguments normOf(const Addresses& p, const Linear& o, DType yType);

#define ONEHEAD_LINEAR_OPERATIONS(operation) operation(Linear, linear)

}  // namespace onehead
