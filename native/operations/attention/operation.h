// Attention. Shapes, and rows of a pool: ../operations.h.
#pragma once

#include <optional>

#include "algorithms.h"
#include "arguments.h"
#include "core/kinds.h"
#include "core/tensor.h"

namespace onehead {

class Addresses;

/**
 * query [B, M, H * S], key and value [B, N, G * S] -> y [B, M, H * S]; see native/cpu/kernels.h for append, start and
 * causal. `multiQuery` alone has length before batch: query [M, B, H * S], key and value [N, B, S], y [M, B, H * S].
 *
 * `source` int32 [B, N], with `start` and splitKeyValue only: a cache that is reordered by index. Sequence b reads the
 * key and value of position n < start[b] from cache row source[b, n], those from start[b] on from its own row b, which
 * it appends to. Rows outside 0 ... B - 1 read as b; a row that is named must not append that same position in this
 * call, which holds where sequences that share rows have one start. Absent: every position from row b.
 *
 * `scores` float32 [B * M, P, A, N], with `scoreHeads` int32 [H] and `scorePosition` int32 [B * M], not for the
 * multi-query algorithms: query i of sequence b also writes scale * q . k (before the softmax; keys that it does not
 * see are left as they were) of each head h with 0 <= a = scoreHeads[h] < A to
 * scores[r, scorePosition[r], a, :], r = b * M + i. Where scorePosition[r] is outside 0 ... P - 1 nothing is written.
 *
 * For memoryEfficient and splitKeyValue only, and M = 1 where there are scores:
 *  - `rows` int32 [B]: start and scorePosition are [R], source is [R, N] and names rows of the pool, and key and value
 *    are [R, N, G * S], of which entry b has row rows[b].
 *  - `keyBegin` and `keyCount` int32 [R], both or neither and without append, causal, start and source: key and value
 *    are one pool of positions [1, P, G * S], of which entry b sees keyBegin ... keyBegin + keyCount - 1, as far as
 *    they are in the pool; of none where keyBegin is negative, and its output is zero then. Neighbouring entries of one
 *    range (the beams of a window) share one pass over its keys and values in splitKeyValue.
 *  - `scoreRow` int32 [R]: the row of `scores` [any, P, A, any] that an entry writes to, none where it is out of range.
 *    Absent: the entry's own index, of [B, P, A, any].
 *    The last dimension is the entry's own keys, 0 ... keyCount - 1; those that it has no room for are not written.
 *
 * For splitKeyValue, key and value may be int8 with keyScales and valueScales float32 [R or 1, N, G], which each head
 * of a position is multiplied by. What is appended is quantized (the largest magnitude / 127), so that it changes them.
 */
struct Attention {
  Tensor query, key, value;
  std::optional<Tensor> newKey, newValue, start;
  int64_t heads, keyValueHeads, headSize;
  bool causal;
  float scale;
  AttentionAlgorithm algorithm;
  Tensor y;
  std::optional<Tensor> source, scores, scoreHeads, scorePosition, rows, keyBegin, keyCount, scoreRow, keyScales,
      valueScales;
  void tensors(auto visit) const {
    visit(query, key, value, newKey, newValue, start, y, source, scores, scoreHeads, scorePosition, rows, keyBegin,
          keyCount, scoreRow, keyScales, valueScales);
  }
  void written(auto visit) const {
    visit(y, scores);
    if (newKey) visit(key, value, keyScales, valueScales);
  }

  bool lengthFirst() const { return declarationOf(algorithm).lengthFirst; }
  int64_t batch() const { return query.shape[lengthFirst() ? 1 : 0]; }
  int64_t queries() const { return query.shape[lengthFirst() ? 0 : 1]; }
  int64_t keys() const { return key.shape[lengthFirst() ? 0 : 1]; }
  /** Rows of the state: R. */
  int64_t pool() const { return !rows ? batch() : keyBegin ? keyBegin->shape[0] : key.shape[0]; }
  /** Elements from one sequence to the next, and from one position to the next. */
  int64_t batchStride(const Tensor& t) const { return lengthFirst() ? t.rowStride : t.shape[1] * t.rowStride; }
  int64_t lengthStride(const Tensor& t) const { return lengthFirst() ? t.shape[1] * t.rowStride : t.rowStride; }
};

AttentionArguments argumentsOf(const Addresses& p, const Attention& o);

#define ONEHEAD_ATTENTION_OPERATIONS(operation) operation(Attention, attention)

}  // namespace onehead
