// What the kernels of attention take, on either backend. Rows of a pool: ../operations.h.
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

/** What an algorithm with the scores in memory does one after another, so that each can be timed; the others do all at
 * once. */
enum class AttentionStage : int32_t { all, append, reshape, scores, softmax, values };

/**
 * softmax(q k^T * scale) v, query head h reading key/value head h * keyValueHeads / heads.
 * New keys and values of this call, where there are any, are first copied to rows start[b] ... start[b] + queries - 1
 * of the cache that key and value point to. With `causal`, query i of sequence b sees keys 0 ... start[b] + i (start 0
 * when null); otherwise keys 0 ... keys - 1.
 */
struct AttentionArguments {
  int64_t batch, queries, keys, heads, keyValueHeads, headSize;
  DType type;  // of all but the cache
  AttentionView q, k, v;
  bool causal;
  const int32_t* start;            // [batch] or null
  AttentionView newKey, newValue;  // rows to append; null data: none
  float scale;
  AttentionView y;              // a CPU takes it without gaps
  void* scratch = nullptr;      // as the kernel wants it
  int32_t* counters = nullptr;  // of a GPU

  /** Of a GPU: no kernel of the program writes keys, values, `rows`, `keyBegin` and `keyCount`; they are read before
   * the kernel before has ended. Not with newKey, start or source. */
  bool keysStay = false;

  // Optional; see Attention in operation.h.
  const int32_t* source = nullptr;         // [pool, keys], splitKeyValue only
  float* scores = nullptr;                 // [scoreSequences, scoreRows, scoreWidth, scoreKeys]
  const int32_t* scoreHeads = nullptr;     // [heads]
  const int32_t* scorePosition = nullptr;  // [pool * queries]
  int64_t scoreRows = 0, scoreWidth = 0;

  // Rows of a pool, for memoryEfficient and splitKeyValue.
  const int32_t* rows = nullptr;  // [batch]; start is [pool] then
  int64_t pool = 0;
  const int32_t *keyBegin = nullptr, *keyCount = nullptr;  // [pool]; k and v are one sequence of `keys` positions then
  const int32_t* scoreRow = nullptr;                       // [pool]
  int64_t scoreSequences = 0, scoreKeys = 0;

  // splitKeyValue only: keys and values of 8 bits without gaps, each head of a position times a scale. What is appended
  // is quantized; q, new rows and y are of `type`.
  float *keyScales = nullptr, *valueScales = nullptr;  // [sequences, keys, keyValueHeads]

  AttentionAlgorithm algorithm = AttentionAlgorithm::multiHead;
  AttentionStage stage = AttentionStage::all;
};

}  // namespace onehead
