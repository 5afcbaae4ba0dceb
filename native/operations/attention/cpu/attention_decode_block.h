// One block of positions in decode attention: scores, streaming softmax and weighted sum, for attention_decode.cc.
//
// Two shapes of loop. Where each key/value head serves one query row, memory is the bound, and it is fastest when asked
// strictly in order: position by position, all heads of each. Where it serves several (grouped heads, or several
// queries), arithmetic counts too: four rows and four positions at once, and sums that stay in registers for a block.
// A cache that is reordered by index goes in order too, since each position may lie in another row.
#pragma once

#include "attention_common.h"
#include "cpu/kernels/dot.h"
#include "cpu/kernels/math.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int kBlock = 64;
constexpr int64_t kAhead = 8192;   // bytes of K or V between reading and prefetching
constexpr float kLowest = -1e30f;  // below any score, but finite: the difference of two is a number

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

/** A step of stored elements as float32, in the order that is cheapest to widen to. */
template <typename T>
struct Wide {
  static constexpr int kVectors = 1, kStep = kWidth;
  F vectors[1];
  static Wide read(const T* p) { return {{load(p)}}; }
  static Wide readPart(const T* p, int64_t count) { return {{loadPart(p, count)}}; }
  static int64_t place(int64_t i) { return i; }
};
template <>
struct Wide<Bf16> {  // the even elements, then the odd ones
  static constexpr int kVectors = 2, kStep = 2 * kWidth;
  F vectors[2];
  static Wide split(U words) { return {{(F)(words << 16), (F)(words & 0xffff0000u)}}; }
  static Wide read(const Bf16* p) { return split(*(const UnalignedU*)p); }
  static Wide readPart(const Bf16* p, int64_t count) { return split(loadWordsPart(p, count)); }
  static int64_t place(int64_t i) { return i / kStep * kStep + i % 2 * kWidth + i % kStep / 2; }
};

/** Whether keys and values have scales: scores and weights are multiplied by them, a block at a time. */
template <typename T>
constexpr bool kScaled = false;
template <>
constexpr bool kScaled<Int8> = true;

/** Size is the head size where it is known, so that loops over it unroll; else 0. */
template <typename T, int Size>
class DecodeBlock {
 public:
  using Prepared = typename Dot<T>::Prepared;

  /** Prepared queries [rows][padded] and scores [rows][kBlock], a row being a query and head of all of a pass. */
  DecodeBlock(const Attention& arguments, int64_t padded, Prepared* q, float* scores)
      : a_(arguments), padded_(padded), group_(a_.heads / a_.keyValueHeads), q_(q), scores_(scores) {}

  /** The pass and the key/value heads to work on. */
  void setPass(const Pass& pass, Piece heads) {
    pass_ = pass;
    heads_ = heads;
    shared_ = group_ * pass.entries * a_.queries;
    inOrder_ = shared_ < kRows || a_.source;
    keys_ = firstKey<T>(a_, a_.k, pass.row);
    values_ = firstKey<T>(a_, a_.v, pass.row);
    if constexpr (kScaled<T>) {
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

  /** The scores of positions [first, first + count) of the pass. */
  void score(int64_t first, int64_t count) {
    if (inOrder_) {
      scoreInOrder(first, count);
    } else {
      scoreTogether(first, count);
    }
    if constexpr (kScaled<T>) scale(a_.keyScales, keyScales_, first, count);
  }

  /** Gives out the scores of those heads whose scores are wanted. */
  void giveScores(int64_t first, int64_t count) const {
    if (!a_.scores) return;
    eachRow([&](int64_t b, int64_t query, int64_t head, int64_t row) {
      float* to = scoresOf(a_, b, query, head);
      if (!to) return;
      const int64_t seen = least(visibleKeys(a_, pass_.row, query), a_.scoreKeys) - first;
      for (int64_t p = 0; p < least(seen, count); ++p) to[first + p] = scores_[row * kBlock + p] * a_.scale;
    });
  }

  /** values += weights . V of positions [first, first + count). */
  void add(int64_t first, int64_t count, float* values) {
    if constexpr (kScaled<T>) scale(a_.valueScales, valueScales_, first, count);
    if (inOrder_) return addInOrder(first, count, values);
    for (int64_t g = heads_.begin; g < heads_.end; ++g) {
      const T* v = values_ + first * a_.v.rowStride + g * headSize();
      int64_t row = 0;
      for (; row + kRows <= shared_; row += kRows) addShared<kRows>(v, g, row, count, values);
      for (; row < shared_; ++row) addShared<1>(v, g, row, count, values);
    }
  }

  /** Turns one row's scores into weights under their maximum, of which it gives the maximum and the sum. */
  void soften(int64_t row, int64_t seen, float* maximum, float* total) {
    float* scores = scores_ + row * kBlock;
    for (int64_t p = most(seen, 0); p < kBlock; ++p) scores[p] = -kInfinity;
    F top = splat(kLowest);
    for (int p = 0; p < kBlock; p += kWidth) top = larger(top, load(scores + p));
    const float c = a_.scale * kLog2E;
    float highest = largest(top) * c;
    if (highest < kLowest) highest = kLowest;
    F sums = {};
    for (int p = 0; p < kBlock; p += kWidth) {
      const F raw = load(scores + p);
      const F weight = exp2(fused(raw, splat(c), splat(-highest)));
      const F seenWeight = raw == splat(-kInfinity) ? F{} : weight;
      store(scores + p, seenWeight);
      sums += seenWeight;
    }
    *total = sum(sums);
    *maximum = highest;
  }

 private:
  static constexpr int kRows = 4;

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

  /** The lanes of k . q of one head. */
  F dot(const T* k, const Prepared* q) const {
    constexpr int kStep = Dot<T>::kStep;
    const int64_t size = headSize();
    F sums = {};
    int64_t d = 0;
    ONEHEAD_UNROLL(4)
    for (; d + kStep <= size; d += kStep) sums = Dot<T>::step(Dot<T>::read(k + d), q + d, sums);
    if (d < size) sums = Dot<T>::step(Dot<T>::readPart(k + d, size - d), q + d, sums);
    return sums;
  }

  /** Multiplies what is in scores_ by its positions' scales. */
  void scale(const float* scales, const float* own, int64_t first, int64_t count) {
    alignas(64) float column[kBlock];
    for (int64_t g = heads_.begin; g < heads_.end; ++g) {
      for (int64_t p = 0; p < count; ++p)
        column[p] =
            a_.source ? scales[sourceOf(a_, pass_.row, first + p) * a_.scaleStride + (first + p) * a_.keyValueHeads + g]
                      : own[(first + p) * a_.keyValueHeads + g];
      for (int64_t p = count; p < kBlock; ++p) column[p] = 0;
      for (int64_t i = 0; i < shared_; ++i) {
        float* scores = scores_ + (shared_ == 1 ? g : rowAt(g, i)) * kBlock;
        for (int p = 0; p < count; p += kWidth) store(scores + p, load(scores + p) * load(column + p));
      }
    }
  }

  void scoreTogether(int64_t first, int64_t count) {
    for (int64_t p = 0; p < count; p += kRows) {
      const T* k = keys_ + (first + p) * a_.k.rowStride + heads_.begin * headSize();
      const T* v = values_ + (first + p) * a_.v.rowStride + heads_.begin * headSize();
      const int64_t positions = least(kRows, count - p);
      for (int64_t g = heads_.begin; g < heads_.end; ++g, k += headSize(), v += headSize()) {
        for (int64_t i = 0; i < positions; ++i) {
          prefetchHead(k + i * a_.k.rowStride, kAhead);
          prefetchHead(v + i * a_.v.rowStride, 0);  // for addShared(), which does not read in order
        }
        int64_t row = 0;
        if (positions == kRows)
          for (; row + kRows <= shared_; row += kRows) scoreSquare(k, g, row, p);
        for (; row < shared_; ++row)
          for (int64_t i = 0; i < positions; ++i)
            scores_[rowAt(g, row) * kBlock + p + i] = sum(dot(k + i * a_.k.rowStride, q_ + rowAt(g, row) * padded_));
      }
    }
  }

  /** Scores of kRows rows from `row` on with kRows positions from k on. */
  void scoreSquare(const T* k, int64_t g, int64_t row, int64_t p) {
    constexpr int kStep = Dot<T>::kStep;
    const int64_t size = headSize();
    const Prepared* q[kRows];
    for (int r = 0; r < kRows; ++r) q[r] = q_ + rowAt(g, row + r) * padded_;
    F sums[kRows * kRows] = {};
    for (int64_t d = 0; d < size; d += kStep) {
      ONEHEAD_UNROLL(4)
      for (int i = 0; i < kRows; ++i) {
        const T* from = k + i * a_.k.rowStride + d;
        const auto stored = d + kStep <= size ? Dot<T>::read(from) : Dot<T>::readPart(from, size - d);
        ONEHEAD_UNROLL(4)
        for (int r = 0; r < kRows; ++r) sums[r * kRows + i] = Dot<T>::step(stored, q[r] + d, sums[r * kRows + i]);
      }
    }
    float flat[kRows * kRows];
    for (int i = 0; i < kRows * kRows; i += kWidth) store(flat + i, sumRows(sums + i));
    for (int r = 0; r < kRows; ++r)
      __builtin_memcpy(scores_ + rowAt(g, row + r) * kBlock + p, flat + r * kRows, kRows * sizeof(float));
  }

  /** Rows rows from `row` on: their sums stay in registers while the positions pass. */
  template <int Rows>
  void addShared(const T* v, int64_t g, int64_t row, int64_t count, float* values) {
    constexpr int kStep = Wide<T>::kStep, kVectors = Wide<T>::kVectors;
    const int64_t size = headSize();
    const float* weights[Rows];
    for (int r = 0; r < Rows; ++r) weights[r] = scores_ + rowAt(g, row + r) * kBlock;
    for (int64_t d = 0; d < size; d += kStep) {
      F sums[Rows][kVectors];
      for (int r = 0; r < Rows; ++r)
        for (int c = 0; c < kVectors; ++c) sums[r][c] = load(values + rowAt(g, row + r) * padded_ + d + c * kWidth);
      const T* from = v + d;
      for (int64_t p = 0; p < count; ++p, from += a_.v.rowStride) {
        const Wide<T> wide = d + kStep <= size ? Wide<T>::read(from) : Wide<T>::readPart(from, size - d);
        ONEHEAD_UNROLL(4)
        for (int r = 0; r < Rows; ++r) {
          const F weight = splat(weights[r][p]);
          for (int c = 0; c < kVectors; ++c) sums[r][c] = fused(weight, wide.vectors[c], sums[r][c]);
        }
      }
      for (int r = 0; r < Rows; ++r)
        for (int c = 0; c < kVectors; ++c) store(values + rowAt(g, row + r) * padded_ + d + c * kWidth, sums[r][c]);
    }
  }

  /** Lanes are summed kWidth scores at a time. */
  void scoreInOrder(int64_t first, int64_t count) {
    F pending[kWidth];
    float* places[kWidth];
    int waiting = 0;
    for (int64_t p = 0; p < count; ++p) {
      const T* k = inCache(a_.k, keys_, first + p) + heads_.begin * headSize();
      for (int64_t g = heads_.begin; g < heads_.end; ++g, k += headSize()) {
        prefetchHead(k, kAhead);
        for (int64_t i = 0; i < shared_; ++i) {
          const int64_t row = shared_ == 1 ? g : rowAt(g, i);
          pending[waiting] = dot(k, q_ + row * padded_);
          places[waiting] = scores_ + row * kBlock + p;
          if (++waiting < kWidth) continue;
          flush(pending, places, waiting);
          waiting = 0;
        }
      }
    }
    for (int i = waiting; i < kWidth; ++i) pending[i] = F{};
    flush(pending, places, waiting);
  }

  static void flush(const F* pending, float* const* places, int count) {
    float sums[kWidth];
    store(sums, sumRows(pending));
    for (int i = 0; i < count; ++i) *places[i] = sums[i];
  }

  /** One position after the other: 96% of plain reads, against 83% with two at once. */
  void addInOrder(int64_t first, int64_t count, float* values) {
    constexpr int kStep = Wide<T>::kStep;
    const int64_t size = headSize();
    for (int64_t p = 0; p < count; ++p) {
      const T* v = inCache(a_.v, values_, first + p) + heads_.begin * size;
      for (int64_t g = heads_.begin; g < heads_.end; ++g, v += size) {
        prefetchHead(v, kAhead);
        for (int64_t i = 0; i < shared_; ++i) {
          const int64_t row = shared_ == 1 ? g : rowAt(g, i);
          const F weight = splat(scores_[row * kBlock + p]);
          ONEHEAD_UNROLL(2)
          for (int64_t d = 0; d < size; d += kStep) {
            const Wide<T> wide = d + kStep <= size ? Wide<T>::read(v + d) : Wide<T>::readPart(v + d, size - d);
            float* y = values + row * padded_ + d;
            for (int c = 0; c < Wide<T>::kVectors; ++c)
              store(y + c * kWidth, fused(weight, wide.vectors[c], load(y + c * kWidth)));
          }
        }
      }
    }
  }

  const Attention& a_;
  const int64_t padded_;
  const int64_t group_;  // query heads of a key/value head
  Pass pass_;
  Piece heads_;
  int64_t shared_;  // rows that read a key/value head
  bool inOrder_;
  const T *keys_, *values_;
  const float *keyScales_ = nullptr, *valueScales_ = nullptr;
  Prepared* q_;
  float* scores_;
};

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
