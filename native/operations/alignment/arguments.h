// The arguments of the alignment kernels of both backends. ../operations.h explains rows of a pool.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/kinds.h"

namespace onehead {

/** The time of each position of a text; see AlignPositions in operation.h. */
struct AlignPositionsArguments {
  int64_t sequences, rows, positions, heads, keys;
  const float* scores;    // [rows, positions, heads, keys]
  const int32_t* source;  // [sequences, positions]
  const int32_t *begin, *end, *frames;
  int64_t medianWidth;
  int32_t* y;  // [sequences, positions]
  void* scratch;
};

/** Sums attention weights; see AddWeights in operation.h. */
struct AddWeightsArguments {
  int64_t batch, pool, sources, sequences, positions, heads, keys;
  const float* scores;                            // [sources, heads, keys]
  const int32_t* rows;                            // [batch], or null: the entries are the pool
  const int32_t *from, *to, *position, *counted;  // [pool]
  float factor;
  bool fresh;
  float* y;  // [sequences, positions, keys]
};

/** Shared memory of the GPU's kernels, in bytes. */
constexpr size_t alignPositionsSharedBytes(int64_t positions) { return size_t(3 * positions) * sizeof(float); }
constexpr size_t addWeightsSharedBytes(int64_t heads) { return size_t(2 * heads) * sizeof(float); }

// clang-format off
#define ONEHEAD_ALIGNMENT_KERNELS(kernel, withScratch) \
  withScratch(AlignPositions, alignPositions) \
  kernel(AddWeights, addWeights)
// clang-format on

}  // namespace onehead
