// What the kernels of alignment take, on either backend. Rows of a pool: ../operations.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/kinds.h"

namespace onehead {

/** When each position of a text was said; see AlignPositions in native/operations/alignment/operation.h. */
struct AlignPositionsArguments {
  int64_t sequences, rows, positions, heads, keys;
  const float* scores;    // [rows, positions, heads, keys]
  const int32_t* source;  // [sequences, positions]
  const int32_t *begin, *end, *frames;
  int64_t medianWidth;
  int32_t* y;  // [sequences, positions]
  void* scratch;
};

/** Adds up attention's weights; see AddWeights in native/operations/alignment/operation.h. */
struct AddWeightsArguments {
  int64_t batch, pool, sources, sequences, positions, heads, keys;
  const float* scores;                            // [sources, heads, keys]
  const int32_t* rows;                            // [batch], or null: the entries are the pool
  const int32_t *from, *to, *position, *counted;  // [pool]
  float factor;
  bool fresh;
  float* y;  // [sequences, positions, keys]
};

/** Bytes of shared memory that a GPU's kernels take. */
constexpr size_t alignPositionsSharedBytes(int64_t positions) { return size_t(3 * positions) * sizeof(float); }
constexpr size_t addWeightsSharedBytes(int64_t heads) { return size_t(2 * heads) * sizeof(float); }

// clang-format off
#define ONEHEAD_ALIGNMENT_KERNELS(kernel, withScratch) \
  withScratch(AlignPositions, alignPositions) \
  kernel(AddWeights, addWeights)
// clang-format on

}  // namespace onehead
