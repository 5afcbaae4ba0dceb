// What the attention algorithms share: which keys a query sees, which head serves it, and appending to the cache.
#pragma once

#include "vector.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

// A is Attention or Softmax. Whatever the device's memory says, nothing outside of the cache is touched.
template <typename A>
static inline int64_t startOf(const A& a, int64_t b) {
  return a.start ? least(most(int64_t(a.start[b]), 0), a.keys) : 0;
}

/** Keys that query i of sequence b sees. */
template <typename A>
static inline int64_t visibleKeys(const A& a, int64_t b, int64_t i) {
  return a.causal ? least(startOf(a, b) + i + 1, a.keys) : a.keys;
}
/** Keys that any query of sequence b sees; no key behind them is read. */
static inline int64_t keysOf(const Attention& a, int64_t b) { return visibleKeys(a, b, a.queries - 1); }

static inline int64_t keyValueHead(const Attention& a, int64_t head) { return head * a.keyValueHeads / a.heads; }

template <typename T>
static inline const T* rowOf(const AttentionView& view, int64_t b, int64_t row) {
  return static_cast<const T*>(view.data) + b * view.batchStride + row * view.rowStride;
}

/** The cache row that holds position `position` of sequence b. */
static inline int64_t sourceOf(const Attention& a, int64_t b, int64_t position) {
  if (!a.source || position >= startOf(a, b)) return b;
  const int64_t row = a.source[b * a.keys + position];
  return row >= 0 && row < a.batch ? row : b;
}

/** Where the scores of a query of sequence b and a head are wanted, [keys]; null where they are not. */
static inline float* scoresOf(const Attention& a, int64_t b, int64_t query, int64_t head) {
  if (!a.scores) return nullptr;
  const int64_t row = b * a.queries + query, place = a.scorePosition[row], column = a.scoreHeads[head];
  if (place < 0 || place >= a.scoreRows || column < 0 || column >= a.scoreWidth) return nullptr;
  return a.scores + ((row * a.scoreRows + place) * a.scoreWidth + column) * a.keys;
}

/** Copies channels [first, last) of new rows [begin, end) of sequence b into the cache, as far as they fit. */
template <typename T>
static inline void appendRows(const Attention& a, int64_t b, int64_t begin, int64_t end, int64_t first, int64_t last) {
  const int64_t start = startOf(a, b);
  for (int64_t i = begin; i < least(end, a.keys - start); ++i) {
    const int64_t from = b * a.newBatchStride + i * a.newRowStride + first;
    T* key = const_cast<T*>(rowOf<T>(a.k, b, start + i)) + first;
    T* value = const_cast<T*>(rowOf<T>(a.v, b, start + i)) + first;
    __builtin_memcpy(key, static_cast<const T*>(a.newKey) + from, size_t(last - first) * sizeof(T));
    __builtin_memcpy(value, static_cast<const T*>(a.newValue) + from, size_t(last - first) * sizeof(T));
  }
}

/** Appends with all threads, and returns when every row is in place. */
template <typename T>
static inline void appendTogether(const Attention& a, const Team& team) {
  if (!a.newKey) return;
  const Share share(a.batch * a.queries, team);
  for (int64_t row = share.begin; row < share.end; ++row)
    appendRows<T>(a, row / a.queries, row % a.queries, row % a.queries + 1, 0, a.keyValueHeads * a.headSize);
  team.barrier();
}

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
