// One block of positions in decode attention: scores, streaming softmax and weighted sum, for attention_decode.cc.
//
// Two shapes of loop. Where each key/value head serves one query row, memory is the bound, and it is fastest when asked
// strictly in order: position by position, all heads of each. Where it serves several (grouped heads, or several
// queries), arithmetic counts too: four rows and four positions at once, and sums that stay in registers for a block.
// A cache that is reordered by index goes in order too, since each position may lie in another row.
#pragma once

#include "attention_common.h"
#include "attention_decode_values.h"
#include "cpu/kernels/math.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int blockPositions = 64;
constexpr int64_t aheadBytes = 8192;  // bytes of K or V between reading and prefetching
constexpr float lowest = -1e30f;      // below any score, but finite: the difference of two is a number

/** Begin and end of positions or of heads; empty where begin >= end. */
struct Piece {
  int64_t begin, end;
};

/** Entries whose queries read the same keys and values together: one, or neighbours that see one range of a pool. */
struct Pass {
  int64_t entry, entries;  // the first of them, and how many
  int64_t row;             // of the first one's state
  int64_t keys;            // that any of their queries sees
  int64_t before;          // blocks of all passes before this one
  int64_t place;           // of the partial results of its first block, in rows
};

/**
 * Whether keys and values have scales: scores and weights are multiplied by them, a block at a time. Queries and
 * weights are then whole numbers of 16 bits under a factor, and sums are exact.
 */
template <typename T>
constexpr bool scaled = false;
template <>
constexpr bool scaled<Int8> = true;

/** Size is the head size where it is known, so that loops over it unroll; else 0. */
template <typename T, int Size>
class DecodeBlock {
 public:
  using Prepared = typename Dot<T>::Prepared;

  /** Prepared queries [rows][padded], their factors [rows] and scores [rows][blockPositions], a row being a query and
   * head of all of a pass. */
  DecodeBlock(const AttentionArguments& arguments, int64_t padded, Prepared* q, float* factors, float* scores)
      : a_(arguments),
        padded_(padded),
        group_(a_.heads / a_.keyValueHeads),
        q_(q),
        factors_(factors),
        scores_(scores) {}

  /** The pass and the key/value heads to work on. */
  void setPass(const Pass& pass, Piece heads) {
    pass_ = pass;
    heads_ = heads;
    shared_ = group_ * pass.entries * a_.queries;
    inOrder_ = shared_ < rowsAtOnce || a_.source;
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

  /** Prepares a query's head x, of type V. */
  template <typename V>
  void prepareQuery(int64_t row, const V* x) {
    if constexpr (scaled<T>) {
      factors_[row] = Dot<T>::prepare(q_ + row * padded_, x, headSize());
    } else {
      prepareRow<T>(q_ + row * padded_, x, headSize());
    }
  }

  /** The scores of positions [first, first + count) of the pass. */
  void score(int64_t first, int64_t count) {
    if (inOrder_) {
      scoreInOrder(first, count);
    } else {
      scoreTogether(first, count);
    }
    if constexpr (scaled<T>) {
      scale(a_.keyScales, keyScales_, first, count);
      eachRow([&](int64_t, int64_t, int64_t, int64_t row) {
        float* scores = scores_ + row * blockPositions;
        for (int p = 0; p < count; p += vectorWidth) store(scores + p, load(scores + p) * splat(factors_[row]));
      });
    }
  }

  /** Gives out the scores of those heads whose scores are wanted. */
  void giveScores(int64_t first, int64_t count) const {
    if (!a_.scores) return;
    eachRow([&](int64_t b, int64_t query, int64_t head, int64_t row) {
      float* to = scoresOf(a_, b, query, head);
      if (!to) return;
      const int64_t seen = smaller(visibleKeys(a_, pass_.row, query), a_.scoreKeys) - first;
      for (int64_t p = 0; p < smaller(seen, count); ++p) to[first + p] = scores_[row * blockPositions + p] * a_.scale;
    });
  }

  /** values = weights . V of positions [first, first + count), where zeros are. */
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
        for (; row + rowsAtOnce <= shared_; row += rowsAtOnce) addShared<rowsAtOnce>(first, g, row, count, values);
        for (; row < shared_; ++row) addShared<1>(first, g, row, count, values);
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

  /** Turns one row's scores into weights under their maximum, of which it gives the maximum and the sum. */
  void soften(int64_t row, int64_t seen, float* maximum, float* total) {
    float* scores = scores_ + row * blockPositions;
    for (int64_t p = larger(seen, 0); p < blockPositions; ++p) scores[p] = -infinity;
    F top = splat(lowest);
    for (int p = 0; p < blockPositions; p += vectorWidth) top = larger(top, load(scores + p));
    const float c = a_.scale * log2E;
    float highest = largest(top) * c;
    if (highest < lowest) highest = lowest;
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
  static constexpr int rowsAtOnce = 4;

  int64_t headSize() const { return Size ? Size : a_.headSize; }

  /** A position's keys or values, wherever the cache has them. */
  const T* inCache(const AttentionView& view, const T* own, int64_t position) const {
    return a_.source ? rowOf<T>(view, sourceOf(a_, pass_.row, position), position) : own + position * view.rowStride;
  }

  /** Row `i` of those that read key/value head g. */
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

  /** The lanes of k . q of one head. */
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

  /** Multiplies what is in scores_ by its positions' scales. */
  void scale(const float* scales, const float* own, int64_t first, int64_t count) {
    alignas(64) float column[blockPositions];
    for (int64_t g = heads_.begin; g < heads_.end; ++g) {
      for (int64_t p = 0; p < count; ++p)
        column[p] =
            a_.source
                ? scales[sourceOf(a_, pass_.row, first + p) * scaleStride(a_) + (first + p) * a_.keyValueHeads + g]
                : own[(first + p) * a_.keyValueHeads + g];
      for (int64_t p = count; p < blockPositions; ++p) column[p] = 0;
      for (int64_t i = 0; i < shared_; ++i) {
        float* scores = scores_ + (shared_ == 1 ? g : rowAt(g, i)) * blockPositions;
        for (int p = 0; p < count; p += vectorWidth) store(scores + p, load(scores + p) * load(column + p));
      }
    }
  }

  void scoreTogether(int64_t first, int64_t count) {
    for (int64_t p = 0; p < count; p += rowsAtOnce) {
      const T* k = keys_ + (first + p) * a_.k.rowStride + heads_.begin * headSize();
      const T* v = values_ + (first + p) * a_.v.rowStride + heads_.begin * headSize();
      const int64_t positions = smaller(rowsAtOnce, count - p);
      for (int64_t g = heads_.begin; g < heads_.end; ++g, k += headSize(), v += headSize()) {
        for (int64_t i = 0; i < positions; ++i) {
          prefetchHead(k + i * a_.k.rowStride, aheadBytes);
          prefetchHead(v + i * a_.v.rowStride, 0);  // for addShared(), which does not read in order
        }
        int64_t row = 0;
        if (positions == rowsAtOnce)
          for (; row + rowsAtOnce <= shared_; row += rowsAtOnce) scoreSquare(k, g, row, p);
        for (; row < shared_; ++row)
          for (int64_t i = 0; i < positions; ++i)
            scores_[rowAt(g, row) * blockPositions + p + i] =
                sum(dot(k + i * a_.k.rowStride, q_ + rowAt(g, row) * padded_));
      }
    }
  }

  /** Scores of rowsAtOnce rows from `row` on with rowsAtOnce positions from k on. */
  void scoreSquare(const T* k, int64_t g, int64_t row, int64_t p) {
    constexpr int stepSize = Dot<T>::stepSize;
    const int64_t size = headSize();
    const Prepared* q[rowsAtOnce];
    for (int r = 0; r < rowsAtOnce; ++r) q[r] = q_ + rowAt(g, row + r) * padded_;
    typename Dot<T>::Sum sums[rowsAtOnce * rowsAtOnce] = {};
    for (int64_t d = 0; d < size; d += stepSize) {
      ONEHEAD_UNROLL(4)
      for (int i = 0; i < rowsAtOnce; ++i) {
        const T* from = k + i * a_.k.rowStride + d;
        const auto stored = d + stepSize <= size ? Dot<T>::read(from) : Dot<T>::readPart(from, size - d);
        ONEHEAD_UNROLL(4)
        for (int r = 0; r < rowsAtOnce; ++r)
          sums[r * rowsAtOnce + i] = Dot<T>::step(stored, q[r] + d, sums[r * rowsAtOnce + i]);
      }
    }
    F lanes[rowsAtOnce * rowsAtOnce];
    for (int i = 0; i < rowsAtOnce * rowsAtOnce; ++i) lanes[i] = toFloat(sums[i]);
    float flat[rowsAtOnce * rowsAtOnce];
    for (int i = 0; i < rowsAtOnce * rowsAtOnce; i += vectorWidth) store(flat + i, sumRows(lanes + i));
    for (int r = 0; r < rowsAtOnce; ++r)
      __builtin_memcpy(scores_ + rowAt(g, row + r) * blockPositions + p, flat + r * rowsAtOnce,
                       rowsAtOnce * sizeof(float));
  }

  /** Where head g of the values of positions p ... of [first, first + count) lies; the last one's for those behind. */
  void findValues(int64_t first, int64_t p, int64_t count, int64_t g, const T** from) const {
    for (int i = 0; i < Values<T>::positionsTogether; ++i)
      from[i] = inCache(a_.v, values_, first + smaller(p + i, count - 1)) + g * headSize();
  }
  typename Values<T>::Stored readValues(const T* const* from, int64_t d) const {
    const int64_t left = headSize() - d;
    return left >= Values<T>::stepSize ? Values<T>::read(from, d) : Values<T>::readPart(from, d, left);
  }

  /** Rows rows from `row` on: their sums stay in registers while the positions pass. */
  template <int Rows>
  void addShared(int64_t first, int64_t g, int64_t row, int64_t count, float* values) {
    constexpr int stepSize = Values<T>::stepSize, vectorCount = Values<T>::vectorCount;
    using Sum = typename Values<T>::Sum;
    for (int64_t d = 0; d < headSize(); d += stepSize) {
      Sum sums[Rows][vectorCount];
      for (int r = 0; r < Rows; ++r)
        for (int c = 0; c < vectorCount; ++c)
          sums[r][c] = loadSum<Sum>(values + rowAt(g, row + r) * padded_ + d + c * vectorWidth);
      for (int64_t p = 0; p < count; p += Values<T>::positionsTogether) {
        const T* from[Values<T>::positionsTogether];
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

  /** Lanes are summed vectorWidth scores at a time. */
  void scoreInOrder(int64_t first, int64_t count) {
    F pending[vectorWidth];
    float* places[vectorWidth];
    int waiting = 0;
    for (int64_t p = 0; p < count; ++p) {
      const T* k = inCache(a_.k, keys_, first + p) + heads_.begin * headSize();
      for (int64_t g = heads_.begin; g < heads_.end; ++g, k += headSize()) {
        prefetchHead(k, aheadBytes);
        for (int64_t i = 0; i < shared_; ++i) {
          const int64_t row = shared_ == 1 ? g : rowAt(g, i);
          pending[waiting] = dot(k, q_ + row * padded_);
          places[waiting] = scores_ + row * blockPositions + p;
          if (++waiting < vectorWidth) continue;
          flush(pending, places, waiting);
          waiting = 0;
        }
      }
    }
    for (int i = waiting; i < vectorWidth; ++i) pending[i] = F{};
    flush(pending, places, waiting);
  }

  static void flush(const F* pending, float* const* places, int count) {
    float sums[vectorWidth];
    store(sums, sumRows(pending));
    for (int i = 0; i < count; ++i) *places[i] = sums[i];
  }

  /** Of floating types one position after the other: 96% of plain reads, against 83% with two at once. */
  void addInOrder(int64_t first, int64_t count, float* values) {
    constexpr int stepSize = Values<T>::stepSize, vectorCount = Values<T>::vectorCount,
                  positionsTogether = Values<T>::positionsTogether;
    using Sum = typename Values<T>::Sum;
    const int64_t size = headSize();
    for (int64_t p = 0; p < count; p += positionsTogether) {
      const T* from[positionsTogether];
      findValues(first, p, count, heads_.begin, from);
      for (int64_t g = heads_.begin; g < heads_.end; ++g) {
        for (int i = 0; i < positionsTogether; ++i) prefetchHead(from[i], aheadBytes);
        for (int64_t i = 0; i < shared_; ++i) {
          const int64_t row = shared_ == 1 ? g : rowAt(g, i);
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
        for (int i = 0; i < positionsTogether; ++i) from[i] += size;
      }
    }
  }

  const AttentionArguments& a_;
  const int64_t padded_;
  const int64_t group_;  // query heads of a key/value head
  Pass pass_;
  Piece heads_;
  int64_t shared_;  // rows that read a key/value head
  bool inOrder_;
  const T *keys_, *values_;
  const float *keyScales_ = nullptr, *valueScales_ = nullptr;
  Prepared* q_;
  float* factors_;
  float* scores_;
};

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
