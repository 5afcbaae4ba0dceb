// The arguments of the row kernels of both backends. ../operations.h explains rows of a pool.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/kinds.h"

namespace onehead {

/** y[b, t, c] = x[b, c, t], converted to another type. */
struct TransposeCastArguments {
  int64_t batch, rows, columns;  // of x
  const float* x;
  void* y;
  DType yType;
};

/** y[b, i, :] = scale * tokenEmbedding[tokens[b, from + i]] + positionEmbedding[from + i], with from = start[b]. A
 * token out of range counts as token 0. */
struct EmbedArguments {
  int64_t batch, count, width, vocabulary, positions;
  const int32_t* tokens;
  int64_t tokenStride;
  const int32_t* start;  // [batch]
  const void* tokenEmbedding;
  DType tokenType;
  const float* positionEmbedding;
  float scale;  // of the token embedding
  float* y;     // [batch, count, width]
  const int32_t* rows = nullptr;
  int64_t pool = 0;
  const float* tokenScales = nullptr;  // [vocabulary] if the token embedding is int8; on the CPU it is then in panels
};

/** y[i, b, :] = x[b, index[i, b], :], with the index clamped. */
struct GatherRowsArguments {
  int64_t count, batch, length, width;
  const float* x;
  const int32_t* index;
  float* y;
};

// clang-format off
#define ONEHEAD_ROWS_KERNELS(kernel, withScratch) \
  kernel(TransposeCast, transposeCast) \
  kernel(Embed, embed) \
  kernel(GatherRows, gatherRows)
// clang-format on

}  // namespace onehead
