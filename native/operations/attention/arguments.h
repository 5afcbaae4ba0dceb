// The arguments of the attention kernels of both backends. ../operations.h explains rows of a pool.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/kinds.h"

namespace onehead {

/** A tensor [batch, length, heads, headSize] with contiguous heads; strides are in elements. */
struct AttentionView {
  const void* data = nullptr;
  int64_t batchStride = 0, rowStride = 0;
};

/** The stages of an algorithm that keeps the score matrix in memory, launched one by one so that each can be timed. The
 * other algorithms have the single stage `all`. */
enum class AttentionStage : int32_t { all, append, reshape, scores, softmax, values };

/**
 * y = softmax(q k^T * scale) v. Query head h reads key/value head h * keyValueHeads / heads.
 *
 * If newKey and newValue are given, they are first written to rows start[b] ... start[b] + queries - 1 of the cache
 * that k and v point to. With `causal`, query i of sequence b attends to keys 0 ... start[b] + i (start is 0 if null),
 * otherwise to keys 0 ... keys - 1.
 */
struct AttentionArguments {
  int64_t batch, queries, keys, heads, keyValueHeads, headSize;
  DType type;  // of all tensors except an int8 cache
  AttentionView q, k, v;
  bool causal;
  const int32_t* start;            // [batch] or null
  AttentionView newKey, newValue;  // rows to append; data is null if there are none
  float scale;
  AttentionView y;              // on the CPU contiguous
  void* scratch = nullptr;      // size and layout are the kernel's
  int32_t* counters = nullptr;  // GPU only: zero before and after each launch

  /** GPU only: no kernel of the program writes keys, values, their scales, `rows`, `keyBegin` or `keyCount`, so they
   * may be loaded before the previous kernel has ended. Never set with newKey, start or source. */
  bool keysUnchanged = false;
  /** GPU only: no *earlier* kernel of the program writes keys, values, their scales, `start`, `source`, `rows`,
   * `keyBegin` or `keyCount`. Earlier runs have ended, so all rows of the cache but the new ones may be loaded before
   * the previous kernel has ended. */
  bool pastUnchanged = false;

  Prefetch prefetch{};

  // Optional; see Attention in operation.h.
  const int32_t* source = nullptr;         // [pool, keys], splitKeyValue only
  float* scores = nullptr;                 // [scoreSequences, scoreRows, scoreWidth, scoreKeys]
  const int32_t* scoreHeads = nullptr;     // [heads]
  const int32_t* scorePosition = nullptr;  // [pool * queries]
  int64_t scoreRows = 0, scoreWidth = 0;

  // Rows of a pool, for memoryEfficient and splitKeyValue only.
  const int32_t* rows = nullptr;  // [batch]; start is [pool] then
  int64_t pool = 0;
  const int32_t *keyBegin = nullptr, *keyCount = nullptr;  // [pool]; k and v are then one sequence of `keys` positions
  int64_t keyLimit = 0;                                    // the most keys of an entry: at most `keys`
  const int32_t* scoreRow = nullptr;                       // [pool]
  int64_t scoreSequences = 0, scoreKeys = 0;

  // splitKeyValue only: int8 keys and values, contiguous, with a scale for each head of each position. Appended rows
  // are quantized; q, new rows and y have `type`.
  float *keyScales = nullptr, *valueScales = nullptr;  // [sequences, keys, keyValueHeads]

  AttentionAlgorithm algorithm = AttentionAlgorithm::multiHead;
  AttentionStage stage = AttentionStage::all;
};

}  // namespace onehead
