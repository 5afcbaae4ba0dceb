// The description of attention. ../operations.h explains the letters of shapes, and rows of a pool.
#pragma once

#include <optional>

#include "algorithms.h"
#include "arguments.h"
#include "core/kinds.h"
#include "core/tensor.h"

namespace onehead {

class Addresses;

/**
 * query [B, M, H * S], key and value [B, N, G * S] -> y [B, M, H * S]. AttentionArguments describes append, start and
 * causal. Only `multiQuery` has the length first: query [M, B, H * S], key and value [N, B, S], y [M, B, H * S].
 *
 * `source` int32 [B, N], a block table with pages of one position, for splitKeyValue with `start` and `causal` only.
 * Sequence b reads the key and value of position n < start[b] from cache row source[b, n], and later positions from its
 * own row b, to which it appends. A value outside 0 ... B - 1 means b. A referenced row must not append the same
 * position in this call; this holds if sequences that share rows have the same start. Without it, every position is
 * read from row b.
 *
 * `scores` float32 [B * M, P, A, N] with `scoreHeads` int32 [H] and `scorePosition` int32 [B * M], not for the
 * multi-query algorithms. For each head h with 0 <= a = scoreHeads[h] < A, query i of sequence b writes
 * scale * q . k (before the softmax) to scores[r, scorePosition[r], a, :], where r = b * M + i. Elements of masked keys
 * are left unchanged. If scorePosition[r] is outside 0 ... P - 1, nothing is written.
 *
 * For memoryEfficient and splitKeyValue only, and with M = 1 if there are scores:
 *  - `rows` int32 [B]: start and scorePosition have R elements, source is [R, N] and contains rows of the pool, and key
 *    and value are [R, N, G * S], of which entry b uses row rows[b].
 *  - `keyBegin` and `keyCount` int32 [R], both or neither, without append, causal, start and source: key and value are
 *    one pool of positions [1, P, G * S]. Entry b attends to positions keyBegin ... keyBegin + keyCount - 1, clamped to
 *    the pool. If keyBegin is negative, it attends to none and its output is zero. In splitKeyValue, neighbouring
 *    entries with the same range (the beams of a window) share one pass over its keys and values. A keyCount above
 *    `keyLimit` (P if not given) counts as keyLimit, for which memory is planned.
 *  - `scoreRow` int32 [R]: the row of `scores` [any, P, A, any] to which an entry writes; nothing is written if it is
 *    out of range. Without it, entry b writes to row b of [B, P, A, any]. The last dimension counts the entry's own
 *    keys, 0 ... keyCount - 1; keys beyond its end are not written.
 *
 * For splitKeyValue, key and value may be int8 with keyScales and valueScales float32 [R or 1, N, G], a scale for each
 * head of each position. Appended rows are quantized (scale = largest magnitude / 127), which writes the scales too.
 */
struct Attention {
  Tensor query, key, value;
  std::optional<Tensor> newKey, newValue, start;
  int64_t heads, keyValueHeads, headSize, keyLimit;
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
  /** Rows of the pool of state: R. */
  int64_t pool() const { return !rows ? batch() : keyBegin ? keyBegin->shape[0] : key.shape[0]; }
  /** Elements between sequences, and between positions. */
  int64_t batchStride(const Tensor& t) const { return lengthFirst() ? t.rowStride : t.shape[1] * t.rowStride; }
  int64_t lengthStride(const Tensor& t) const { return lengthFirst() ? t.shape[1] * t.rowStride : t.rowStride; }
};

AttentionArguments argumentsOf(const Addresses& p, const Attention& o);

#define ONEHEAD_ATTENTION_OPERATIONS(operation) operation(Attention, attention)

}  // namespace onehead
