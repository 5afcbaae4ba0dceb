// One block of positions in decode attention: scores, softmax and weighted sum, for attention_decode.cc.
//
// There are two loop orders. If each key/value head serves one query row, memory is the bound, and reading strictly in
// order is fastest: position by position, all heads of each. If it serves several (grouped heads, or several queries),
// arithmetic matters too: four rows and four positions at once, with sums in registers for a whole block. With a block
// table positions are read in order too, since each may be in another row.
#pragma once

#include "attention_common.h"
#include "attention_decode_values.h"
#include "cpu/kernels/math.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int blockPositions = 64;
constexpr int64_t prefetchBytes = 8192;  // prefetch distance in keys or values
constexpr float lowestScore = -1e30f;    // below any score, but finite, so that differences are not NaN

/** A range of positions or of heads; empty if begin >= end. */
struct Range {
  int64_t begin, end;
};

/** Entries that read the same keys and values together: one, or neighbours with the same range of a pool. */
struct Pass {
  int64_t entry, entries;  // the first entry, and the number of entries
  int64_t row;             // state row of the first entry
  int64_t keys;            // visible to the last query
  int64_t firstBlock;      // index of the first block among those of all passes
  int64_t firstPart;       // index of the first block's partial results, in rows
};

/** Whether keys and values have scales. Scores and weights are multiplied by them, a block at a time. Queries and
 * weights are then 16-bit integers with a scale, and integer sums are exact. */
template <typename T>
constexpr bool scaled = false;
template <>
constexpr bool scaled<Int8> = true;

/** Size is the head size if it is known at compile time, so that loops over it unroll; otherwise 0. */
template <typename T, int Size>
class DecodeBlock {
 public:
  using Prepared = typename Dot<T>::Prepared;

  /** q: prepared queries [rows][padded]; factors [rows]: their scales; scores [rows][blockPositions]. A row is a query
   * and head of any entry of a pass. */
  DecodeBlock(const AttentionArguments& arguments, int64_t padded, Prepared* q, float* factors, float* scores)
      : a_(arguments),
        padded_(padded),
        group_(a_.heads / a_.keyValueHeads),
        q_(q),
        factors_(factors),
        scores_(scores) {}

  /** Selects the pass and the key/value heads. */
  void setPass(const Pass& pass, Range heads) {
    pass_ = pass;
    heads_ = heads;
    rowsPerHead_ = group_ * pass.entries * a_.queries;
    inOrder_ = rowsPerHead_ < rowBlock || a_.source;
    keys_ = firstKey<T>(a_, a_.k, pass.row);
    values_ = firstKey<T>(a_, a_.v, pass.row);
    if constexpr (scaled<T>) {
      keyScales_ = firstScale(a_, a_.keyScales, pass.row);
      valueScales_ = firstScale(a_, a_.valueScales, pass.row);
    }
  }

  /** Calls job(entry, query, head, row). */
  template <typename Job>
  void eachRow(Job job) const {
    int64_t first = 0;
    for (int64_t b = pass_.entry; b < pass_.entry + pass_.entries; ++b)
      for (int64_t query = 0; query < a_.queries; ++query, first += a_.heads)
        for (int64_t head = heads_.begin * group_; head < heads_.end * group_; ++head)
          job(b, query, head, first + head);
  }

  /** Prepares a query of one head, x of type V. */
  template <typename V>
  void prepareQuery(int64_t row, const V* x) {
    if constexpr (scaled<T>) {
      factors_[row] = Dot<T>::prepare(q_ + row * padded_, x, headSize());
    } else {
      prepareRow<T>(q_ + row * padded_, x, headSize());
    }
  }

  /** Computes the scores of positions [first, first + count) of the pass. */
  void score(int64_t first, int64_t count) {
    if (inOrder_) {
      scoreInOrder(first, count);
    } else {
      scoreShared(first, count);
    }
    if constexpr (scaled<T>) {
      scale(a_.keyScales, keyScales_, first, count);
      eachRow([&](int64_t, int64_t, int64_t, int64_t row) { multiply(row, factors_[row]); });
    }
    if (const float sign = querySign(a_); sign != 1)
      eachRow([&](int64_t, int64_t, int64_t, int64_t row) { multiply(row, sign); });
  }

  /** Writes the scores of positions [first, first + count) where they are wanted. */
  void writeScores(int64_t first, int64_t count) const {
    if (!a_.scores) return;
    eachRow([&](int64_t b, int64_t query, int64_t head, int64_t row) {
      float* to = scoresOf(a_, b, query, head);
      if (!to) return;
      const int64_t seen = min(visibleKeys(a_, pass_.row, query), a_.scoreKeys) - first;
      for (int64_t p = 0; p < min(seen, count); ++p)
        to[first + p] = scores_[row * blockPositions + p] * positiveScale(a_);
    });
  }

  /** Adds weights . V of positions [first, first + count) to `values`, which are zero. */
  void add(int64_t first, int64_t count, float* values) {
    if constexpr (scaled<T>) {
      scale(a_.valueScales, valueScales_, first, count);
      eachRow([&](int64_t, int64_t, int64_t, int64_t row) {
        float* weights = scores_ + row * blockPositions;
        weights[blockPositions - 1] =
            quantizeRow<float>(weights, blockPositions, reinterpret_cast<int16_t*>(weights), 32767.0f);
      });
    }
    if (inOrder_) {
      addInOrder(first, count, values);
    } else {
      for (int64_t g = heads_.begin; g < heads_.end; ++g) {
        int64_t row = 0;
        for (; row + rowBlock <= rowsPerHead_; row += rowBlock) addShared<rowBlock>(first, g, row, count, values);
        for (; row < rowsPerHead_; ++row) addShared<1>(first, g, row, count, values);
      }
    }
    if constexpr (scaled<T>) {
      eachRow([&](int64_t, int64_t, int64_t, int64_t row) {
        float* sums = values + row * padded_;
        const F factor = splat(scores_[row * blockPositions + blockPositions - 1]);
        for (int64_t d = 0; d < padded_; d += vectorWidth) store(sums + d, toFloat(loadSum<I>(sums + d)) * factor);
      });
    }
  }

  /** Replaces a row's scores by weights relative to their maximum; returns the maximum and the sum of the weights. */
  void softmaxRow(int64_t row, int64_t seen, float* maximum, float* total) {
    float* scores = scores_ + row * blockPositions;
    for (int64_t p = max(seen, 0); p < blockPositions; ++p) scores[p] = -infinity;
    F maximumLanes = splat(lowestScore);
    for (int p = 0; p < blockPositions; p += vectorWidth) maximumLanes = max(maximumLanes, load(scores + p));
    float c = positiveScale(a_) * log2E, highest = maxLane(maximumLanes) * c;
    if (highest < lowestScore) highest = lowestScore;
    if (highest > largeExponent || -highest > largeExponent) {
      multiply(row, c);
      c = 1;
    }
    F sums = {};
    for (int p = 0; p < blockPositions; p += vectorWidth) {
      const F raw = load(scores + p);
      const F weight = exp2(fused(raw, splat(c), splat(-highest)));
      const F seenWeight = raw == splat(-infinity) ? F{} : weight;
      store(scores + p, seenWeight);
      sums += seenWeight;
    }
    *total = sum(sums);
    *maximum = highest;
  }

 private:
  static constexpr int rowBlock = 4;

  /** Multiplies a row's scores. */
  void multiply(int64_t row, float factor) {
    float* scores = scores_ + row * blockPositions;
    for (int p = 0; p < blockPositions; p += vectorWidth) store(scores + p, load(scores + p) * splat(factor));
  }

  int64_t headSize() const { return Size ? Size : a_.headSize; }

  /** A position's keys or values, found with the block table if there is one. */
  const T* cachedRow(const AttentionView& view, const T* firstRow, int64_t position) const {
    return a_.source ? rowOf<T>(view, sourceOf(a_, pass_.row, position), position)
                     : firstRow + position * view.rowStride;
  }

  /** Row `i` of those that share key/value head g. */
  int64_t rowAt(int64_t g, int64_t i) const { return i / group_ * a_.heads + g * group_ + i % group_; }

  void prefetchHead(const T* from, int64_t ahead) const {
    const char* next = reinterpret_cast<const char*>(from) + ahead;
    for (int64_t byte = 0; byte < headSize() * int64_t(sizeof(T)); byte += 64) prefetch(next + byte);
  }

  template <typename Sum>
  static Sum loadSum(const float* from) {
    Sum sums;
    __builtin_memcpy(&sums, from, sizeof sums);
    return sums;
  }

  /** k . q of one head, with the lanes not yet summed. */
  F dot(const T* k, const Prepared* q) const {
    constexpr int stepSize = Dot<T>::stepSize;
    const int64_t size = headSize();
    typename Dot<T>::Sum sums = {};
    int64_t d = 0;
    ONEHEAD_UNROLL(4)
    for (; d + stepSize <= size; d += stepSize) sums = Dot<T>::step(Dot<T>::read(k + d), q + d, sums);
    if (d < size) sums = Dot<T>::step(Dot<T>::readPart(k + d, size - d), q + d, sums);
    return toFloat(sums);
  }

  /** Multiplies scores_ by the scales of their positions. */
  void scale(const float* scales, const float* rowScales, int64_t first, int64_t count) {
    alignas(64) float column[blockPositions];
    for (int64_t g = heads_.begin; g < heads_.end; ++g) {
      for (int64_t p = 0; p < count; ++p)
        column[p] =
            a_.source
                ? scales[sourceOf(a_, pass_.row, first + p) * scaleStride(a_) + (first + p) * a_.keyValueHeads + g]
                : rowScales[(first + p) * a_.keyValueHeads + g];
      for (int64_t p = count; p < blockPositions; ++p) column[p] = 0;
      for (int64_t i = 0; i < rowsPerHead_; ++i) {
        float* scores = scores_ + (rowsPerHead_ == 1 ? g : rowAt(g, i)) * blockPositions;
        for (int p = 0; p < count; p += vectorWidth) store(scores + p, load(scores + p) * load(column + p));
      }
    }
  }

  void scoreShared(int64_t first, int64_t count) {
    for (int64_t p = 0; p < count; p += rowBlock) {
      const T* k = keys_ + (first + p) * a_.k.rowStride + heads_.begin * headSize();
      const T* v = values_ + (first + p) * a_.v.rowStride + heads_.begin * headSize();
      const int64_t positions = min(rowBlock, count - p);
      for (int64_t g = heads_.begin; g < heads_.end; ++g, k += headSize(), v += headSize()) {
        for (int64_t i = 0; i < positions; ++i) {
          prefetchHead(k + i * a_.k.rowStride, prefetchBytes);
          prefetchHead(v + i * a_.v.rowStride, 0);  // for addShared(), which does not read in order
        }
        int64_t row = 0;
        if (positions == rowBlock)
          for (; row + rowBlock <= rowsPerHead_; row += rowBlock) scoreSquare(k, g, row, p);
        for (; row < rowsPerHead_; ++row)
          for (int64_t i = 0; i < positions; ++i)
            scores_[rowAt(g, row) * blockPositions + p + i] =
                sum(dot(k + i * a_.k.rowStride, q_ + rowAt(g, row) * padded_));
      }
    }
  }

  /** Scores of rowsAtOnce rows from `row` on at rowsAtOnce positions from k on. */
  void scoreSquare(const T* k, int64_t g, int64_t row, int64_t p) {
    constexpr int stepSize = Dot<T>::stepSize;
    const int64_t size = headSize();
    const Prepared* q[rowBlock];
    for (int r = 0; r < rowBlock; ++r) q[r] = q_ + rowAt(g, row + r) * padded_;
    typename Dot<T>::Sum sums[rowBlock * rowBlock] = {};
    for (int64_t d = 0; d < size; d += stepSize) {
      ONEHEAD_UNROLL(4)
      for (int i = 0; i < rowBlock; ++i) {
        const T* from = k + i * a_.k.rowStride + d;
        const auto stored = d + stepSize <= size ? Dot<T>::read(from) : Dot<T>::readPart(from, size - d);
        ONEHEAD_UNROLL(4)
        for (int r = 0; r < rowBlock; ++r)
          sums[r * rowBlock + i] = Dot<T>::step(stored, q[r] + d, sums[r * rowBlock + i]);
      }
    }
    F lanes[rowBlock * rowBlock];
    for (int i = 0; i < rowBlock * rowBlock; ++i) lanes[i] = toFloat(sums[i]);
    float flat[rowBlock * rowBlock];
    for (int i = 0; i < rowBlock * rowBlock; i += vectorWidth) store(flat + i, sumRows(lanes + i));
    for (int r = 0; r < rowBlock; ++r)
      __builtin_memcpy(scores_ + rowAt(g, row + r) * blockPositions + p, flat + r * rowBlock, rowBlock * sizeof(float));
  }

  /** Addresses of head g's values at positions p, p + 1, ...; beyond `count` the last position's again. */
  void findValues(int64_t first, int64_t p, int64_t count, int64_t g, const T** from) const {
    for (int i = 0; i < Values<T>::positionsPerStep; ++i)
      from[i] = cachedRow(a_.v, values_, first + min(p + i, count - 1)) + g * headSize();
  }
  typename Values<T>::Stored readValues(const T* const* from, int64_t d) const {
    const int64_t left = headSize() - d;
    return left >= Values<T>::stepSize ? Values<T>::read(from, d) : Values<T>::readPart(from, d, left);
  }

  /** Adds values for Rows rows from `row` on; their sums stay in registers over all positions. */
  template <int Rows>
  void addShared(int64_t first, int64_t g, int64_t row, int64_t count, float* values) {
    constexpr int stepSize = Values<T>::stepSize, vectorCount = Values<T>::vectorCount;
    using Sum = typename Values<T>::Sum;
    for (int64_t d = 0; d < headSize(); d += stepSize) {
      Sum sums[Rows][vectorCount];
      for (int r = 0; r < Rows; ++r)
        for (int c = 0; c < vectorCount; ++c)
          sums[r][c] = loadSum<Sum>(values + rowAt(g, row + r) * padded_ + d + c * vectorWidth);
      for (int64_t p = 0; p < count; p += Values<T>::positionsPerStep) {
        const T* from[Values<T>::positionsPerStep];
        findValues(first, p, count, g, from);
        const auto stored = readValues(from, d);
        ONEHEAD_UNROLL(4)
        for (int r = 0; r < Rows; ++r) Values<T>::add(stored, scores_ + rowAt(g, row + r) * blockPositions, p, sums[r]);
      }
      for (int r = 0; r < Rows; ++r)
        for (int c = 0; c < vectorCount; ++c)
          __builtin_memcpy(values + rowAt(g, row + r) * padded_ + d + c * vectorWidth, &sums[r][c], sizeof(Sum));
    }
  }

  /** The lanes of vectorWidth scores are summed at once. */
  void scoreInOrder(int64_t first, int64_t count) {
    F pending[vectorWidth];
    float* targets[vectorWidth];
    int pendingCount = 0;
    for (int64_t p = 0; p < count; ++p) {
      const T* k = cachedRow(a_.k, keys_, first + p) + heads_.begin * headSize();
      for (int64_t g = heads_.begin; g < heads_.end; ++g, k += headSize()) {
        prefetchHead(k, prefetchBytes);
        for (int64_t i = 0; i < rowsPerHead_; ++i) {
          const int64_t row = rowsPerHead_ == 1 ? g : rowAt(g, i);
          pending[pendingCount] = dot(k, q_ + row * padded_);
          targets[pendingCount] = scores_ + row * blockPositions + p;
          if (++pendingCount < vectorWidth) continue;
          flush(pending, targets, pendingCount);
          pendingCount = 0;
        }
      }
    }
    for (int i = pendingCount; i < vectorWidth; ++i) pending[i] = F{};
    flush(pending, targets, pendingCount);
  }

  static void flush(const F* pending, float* const* targets, int count) {
    float sums[vectorWidth];
    store(sums, sumRows(pending));
    for (int i = 0; i < count; ++i) *targets[i] = sums[i];
  }

  /** Floating types are added one position at a time, which is faster than two at once (see attention_decode.cc). */
  void addInOrder(int64_t first, int64_t count, float* values) {
    constexpr int stepSize = Values<T>::stepSize, vectorCount = Values<T>::vectorCount,
                  positionsPerStep = Values<T>::positionsPerStep;
    using Sum = typename Values<T>::Sum;
    const int64_t size = headSize();
    for (int64_t p = 0; p < count; p += positionsPerStep) {
      const T* from[positionsPerStep];
      findValues(first, p, count, heads_.begin, from);
      for (int64_t g = heads_.begin; g < heads_.end; ++g) {
        for (int i = 0; i < positionsPerStep; ++i) prefetchHead(from[i], prefetchBytes);
        for (int64_t i = 0; i < rowsPerHead_; ++i) {
          const int64_t row = rowsPerHead_ == 1 ? g : rowAt(g, i);
          ONEHEAD_UNROLL(2)
          for (int64_t d = 0; d < size; d += stepSize) {
            const auto stored = readValues(from, d);
            float* y = values + row * padded_ + d;
            Sum sums[vectorCount];
            for (int c = 0; c < vectorCount; ++c) sums[c] = loadSum<Sum>(y + c * vectorWidth);
            Values<T>::add(stored, scores_ + row * blockPositions, p, sums);
            __builtin_memcpy(y, sums, sizeof sums);
          }
        }
        for (int i = 0; i < positionsPerStep; ++i) from[i] += size;
      }
    }
  }

  const AttentionArguments& a_;
  const int64_t padded_;
  const int64_t group_;  // query heads per key/value head
  Pass pass_;
  Range heads_;
  int64_t rowsPerHead_;  // rows that share a key/value head
  bool inOrder_;
  const T *keys_, *values_;
  const float *keyScales_ = nullptr, *valueScales_ = nullptr;
  Prepared* q_;
  float* factors_;
  float* scores_;
};

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
