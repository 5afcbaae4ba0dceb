// What kernels of rows take, on either backend. Rows of a pool: ../operations.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/kinds.h"

namespace onehead {

/** y[b, t, c] = x[b, c, t], in another type. */
struct TransposeCastArguments {
  int64_t batch, rows, columns;  // of x
  const float* x;
  void* y;
  DType yType;
};

/** x[b, i, :] = tokenEmbedding[tokens[b, from + i]] + positionEmbedding[from + i], with from = start[b]. Tokens out of
 * range read as 0. */
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
  const float* tokenScales = nullptr;  // [vocabulary], where the token embedding is of 8 bits, on a CPU in panels
};

/** y[i, b, :] = x[b, index[i, b], :], the index clamped to the rows. */
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
