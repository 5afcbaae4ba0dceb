// The descriptions of operations that move, convert or look up rows. ../operations.h explains the letters of shapes,
// and rows of a pool.
#pragma once

#include <optional>

#include "arguments.h"
#include "core/capabilities.h"
#include "core/kinds.h"
#include "core/tensor.h"

namespace onehead {

/** x of any shape -> y with the same elements. */
struct Copy {
  Tensor x, y;
  void tensors(auto visit) const { visit(x, y); }
  void written(auto visit) const { visit(y); }
};

/** x [B, R, C] -> y [B, C, R] of another type. */
struct TransposeCast {
  Tensor x, y;
  void tensors(auto visit) const { visit(x, y); }
  void written(auto visit) const { visit(y); }
  Reasons notSupported(const Capabilities& device) const;
};

/** tokens [R, capacity], start [R] -> y [B, count, D]: embeddings of tokens start ... start + count - 1 plus those of
 * their positions. An int8 tokenEmbedding [V, D] has tokenScales float32 [V], like the weight of Linear. */
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
 * y[begin[b] + t] = x[b, t] for positions within y: x [B, T, D], begin int32 [B], y [P, D] or [1, P, D]. y has the type
 * of x, or another floating type, or it is int8 with scales float32 [P, G] or [1, P, G]: then each of the G parts of a
 * row is quantized. If begin[b] is negative, nothing is written. Ranges must not overlap.
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
