// Operations that move, convert or look up rows. Shapes, and rows of a pool: ../operations.h.
#pragma once

#include <optional>

#include "arguments.h"
#include "core/capabilities.h"
#include "core/kinds.h"
#include "core/tensor.h"

namespace onehead {

/** x of any shape -> y, the same elements. */
struct Copy {
  Tensor x, y;
  void tensors(auto visit) const { visit(x, y); }
  void written(auto visit) const { visit(y); }
};

/** x [B, R, C] -> y [B, C, R] of another dtype. */
struct TransposeCast {
  Tensor x, y;
  void tensors(auto visit) const { visit(x, y); }
  void written(auto visit) const { visit(y); }
  Reasons notSupported(const Capabilities& device) const;
};

/** tokens [R, capacity], start [R] -> y [B, count, D]: tokens start ... start + count - 1 and their positions. An int8
 * tokenEmbedding [V, D] has tokenScales float32 [V], as Linear's weight. */
struct Embed {
  Tensor tokens, start, tokenEmbedding, positionEmbedding;
  int64_t count;
  float scale;
  Tensor y;
  std::optional<Tensor> rows, tokenScales;
  static constexpr bool takesQuantizedWeights = true;
  void tensors(auto visit) const { visit(tokens, start, tokenEmbedding, positionEmbedding, y, rows, tokenScales); }
  void written(auto visit) const { visit(y); }
  Reasons notSupported(const Capabilities& device) const;
};

/** y[i, b] = x[b, index[i, b]]: x [B, T, D], index [I, B] -> y [I, B, D]. */
struct GatherRows {
  Tensor x, index;
  Tensor y;
  void tensors(auto visit) const { visit(x, index, y); }
  void written(auto visit) const { visit(y); }
};

/**
 * y[begin[b] + t] = x[b, t], as far as that is in y: x [B, T, D], begin int32 [B], y [P, D] or [1, P, D] of x's type,
 * of another floating type, or int8 with scales float32 [P, G] or [1, P, G]: each of the G parts of a row is quantized
 * by itself. Nothing where begin[b] is negative. Ranges do not meet.
 */
struct ScatterRows {
  Tensor x, begin, y;
  std::optional<Tensor> scales;
  void tensors(auto visit) const { visit(x, begin, y, scales); }
  void written(auto visit) const { visit(y, scales); }
  Reasons notSupported(const Capabilities& device) const;
};

// clang-format off
#define ONEHEAD_ROWS_OPERATIONS(operation) \
  ONEHEAD_ROWS_KERNELS(operation, operation) \
  operation(Copy, copy) \
  operation(ScatterRows, scatterRows)
// clang-format on

}  // namespace onehead
