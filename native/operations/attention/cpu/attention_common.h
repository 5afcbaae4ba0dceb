// What the attention kernels share: visible keys, addresses of rows, and appending to the cache.
#pragma once

#include "cpu/kernels/bytes.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

/** The row of state that entry b works on; -1 if it is idle. */
static inline int64_t stateRow(const AttentionArguments& a, int64_t b) {
  if (!a.rows) return b;
  const int64_t row = a.rows[b];
  return row >= 0 && row < a.pool ? row : -1;
}
static inline int64_t stateRow(const SoftmaxArguments&, int64_t b) { return b; }

// A is AttentionArguments or SoftmaxArguments. The start is clamped, so that no value in memory makes a kernel access
// anything outside the cache.
template <typename A>
static inline int64_t startOf(const A& a, int64_t row) {
  return a.start ? min(max(int64_t(a.start[row]), 0), a.keys) : 0;
}

/** How many keys query i of an entry in this row attends to; the first of them is firstKey(). */
template <typename A>
static inline int64_t visibleKeys(const A& a, int64_t row, int64_t i) {
  if constexpr (requires { a.keyBegin; }) {
    if (a.keyBegin) {
      const int64_t begin = a.keyBegin[row];
      return begin < 0 ? 0 : max(min(min(int64_t(a.keyCount[row]), a.keyLimit), a.keys - begin), 0);
    }
  }
  return a.causal ? min(startOf(a, row) + i + 1, a.keys) : a.keys;
}
/** How many keys the entry in this row reads: those of its last query. 0 if it is idle. */
static inline int64_t keysOf(const AttentionArguments& a, int64_t row) {
  return row < 0 ? 0 : visibleKeys(a, row, a.queries - 1);
}

static inline int64_t keyValueHead(const AttentionArguments& a, int64_t head) {
  return head * a.keyValueHeads / a.heads;
}

/** The kernels look for the highest q . k, so the sign of the scale is that of the queries: -1, 1, or 0, for which all
 * scores are 0. */
static inline float querySign(const AttentionArguments& a) { return a.scale > 0 ? 1.0f : a.scale < 0 ? -1.0f : 0.0f; }
/** The factor of the scores of such queries; never 0, since 0 times the score of a masked key, -infinity, is NaN. */
static inline float positiveScale(const AttentionArguments& a) {
  return a.scale == 0 ? 1.0f : __builtin_fabsf(a.scale);
}

/** Up to here, the rounding error of a score's exponent is below 1. Above it, the error of a fused multiply-add would
 * decide how much a weight is, so products are rounded before the highest one is subtracted from them. */
constexpr float largeExponent = 0x1p24f;

template <typename T>
static inline const T* rowOf(const AttentionView& view, int64_t b, int64_t row) {
  return static_cast<const T*>(view.data) + b * view.batchStride + row * view.rowStride;
}

/** The first key or value of an entry in this row. */
template <typename T>
static inline const T* firstKey(const AttentionArguments& a, const AttentionView& view, int64_t row) {
  return a.keyBegin ? rowOf<T>(view, 0, a.keyBegin[row]) : rowOf<T>(view, row, 0);
}

/** The cache row that holds position `position` of the sequence in this row, from the block table if there is one. */
static inline int64_t sourceOf(const AttentionArguments& a, int64_t row, int64_t position) {
  if (!a.source || position >= startOf(a, row)) return row;
  const int64_t from = a.source[row * a.keys + position];
  return from >= 0 && from < a.pool ? from : row;
}

/** Where the scores of a query and head of entry b go, [scoreKeys]; null if they are not wanted. */
static inline float* scoresOf(const AttentionArguments& a, int64_t b, int64_t query, int64_t head) {
  if (!a.scores) return nullptr;
  const int64_t row = stateRow(a, b);
  if (row < 0) return nullptr;
  const int64_t to = a.scoreRow ? a.scoreRow[row] : b * a.queries + query;
  const int64_t position = a.scorePosition[row * a.queries + query], column = a.scoreHeads[head];
  if (to < 0 || to >= a.scoreSequences) return nullptr;
  if (position < 0 || position >= a.scoreRows || column < 0 || column >= a.scoreWidth) return nullptr;
  return a.scores + ((to * a.scoreRows + position) * a.scoreWidth + column) * a.scoreKeys;
}

template <typename T>
static inline T* outputOf(const AttentionArguments& a) {
  return static_cast<T*>(const_cast<void*>(a.y.data));
}

/** Scales of one sequence. */
static inline int64_t scaleStride(const AttentionArguments& a) { return a.keys * a.keyValueHeads; }

/** The scale of an entry's first key or value. */
static inline float* firstScale(const AttentionArguments& a, float* scales, int64_t row) {
  return scales + (a.keyBegin ? a.keyBegin[row] * a.keyValueHeads : row * scaleStride(a));
}

/** Calls `append(row, at, from)` for new rows [begin, end) of entry b that fit into the cache. Position `at` of cache
 * row `row` gets the elements from index `from` on. */
template <typename Append>
static inline void appendEach(const AttentionArguments& a, int64_t b, int64_t begin, int64_t end, Append append) {
  const int64_t row = stateRow(a, b);
  if (row < 0) return;
  const int64_t start = startOf(a, row);
  for (int64_t i = begin; i < min(end, a.keys - start); ++i)
    append(row, start + i, b * a.newKey.batchStride + i * a.newKey.rowStride);
}

/** Quantizes channels [first, last), which are whole heads, of new rows of type V into an int8 cache. */
template <typename V>
static inline void appendBytes(const AttentionArguments& a, int64_t b, int64_t begin, int64_t end, int64_t first,
                               int64_t last) {
  appendEach(a, b, begin, end, [&](int64_t row, int64_t at, int64_t from) {
    int8_t* key = const_cast<int8_t*>(rowOf<int8_t>(a.k, row, at));
    int8_t* value = const_cast<int8_t*>(rowOf<int8_t>(a.v, row, at));
    const int64_t scales = row * scaleStride(a) + at * a.keyValueHeads;
    for (int64_t channel = first; channel < last; channel += a.headSize) {
      const int64_t scale = scales + channel / a.headSize, given = from + channel;
      a.keyScales[scale] = quantizeRow<V>(static_cast<const V*>(a.newKey.data) + given, a.headSize, key + channel);
      a.valueScales[scale] =
          quantizeRow<V>(static_cast<const V*>(a.newValue.data) + given, a.headSize, value + channel);
    }
  });
}

/** Copies channels [first, last) of new rows [begin, end) of entry b into the cache, as far as they fit. */
template <typename T>
static inline void appendRows(const AttentionArguments& a, int64_t b, int64_t begin, int64_t end, int64_t first,
                              int64_t last) {
  appendEach(a, b, begin, end, [&](int64_t row, int64_t at, int64_t from) {
    T* key = const_cast<T*>(rowOf<T>(a.k, row, at)) + first;
    T* value = const_cast<T*>(rowOf<T>(a.v, row, at)) + first;
    __builtin_memcpy(key, static_cast<const T*>(a.newKey.data) + from + first, size_t(last - first) * sizeof(T));
    __builtin_memcpy(value, static_cast<const T*>(a.newValue.data) + from + first, size_t(last - first) * sizeof(T));
  });
}

/** Appends with all threads; returns after a barrier, when every row is in the cache. */
template <typename T>
static inline void appendTogether(const AttentionArguments& a, const Team& team) {
  if (!a.newKey.data) return;
  const Share share(a.batch * a.queries, team);
  for (int64_t row = share.begin; row < share.end; ++row)
    appendRows<T>(a, row / a.queries, row % a.queries, row % a.queries + 1, 0, a.keyValueHeads * a.headSize);
  team.barrier();
}

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
