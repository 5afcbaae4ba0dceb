// Decode attention: few queries over many keys, bound by reading K and V once (Flash-Decoding on a CPU).
//
// The positions of all sequences, one behind the other, are divided over the threads, so that each reads contiguous
// rows of all heads. A thread goes by blocks of kBlock positions: scores of all heads (K), a streaming softmax, then
// the weighted sum (V). The partial results (maximum, sum, values) of each sequence meet after a barrier.
#include "attention_common.h"
#include "dot.h"
#include "family.h"
#include "math.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int kBlock = 64;
constexpr int64_t kAhead = 8192;  // bytes of K or V between reading and prefetching
constexpr float kLowest = -1e30f;  // below any score, but finite: the difference of two is a number

/** Where things lie in scratch; in floats. */
struct Layout {
  int64_t rows;           // queries x heads
  int64_t padded;         // headSize in whole steps of any vector
  int64_t partial;        // one sequence's partial result: rows x (maximum, sum), rows x padded
  int64_t ownBegin, own;  // of each thread: prepared queries, scores

  Layout(const Attention& a, int threads) {
    rows = a.queries * a.heads;
    padded = roundUp(a.headSize, 32);
    partial = roundUp(2 * rows, 16) + rows * padded;
    ownBegin = a.batch * threads * partial;
    own = rows * padded + rows * kBlock;
  }
};

/** Positions [begin, end) of one sequence that a thread has; empty where begin >= end. */
struct Piece {
  int64_t begin, end;
};
struct Division {
  int64_t begin, end;  // of the concatenated positions

  Division(const Attention& a, int thread, int threads) {
    int64_t total = 0;
    for (int64_t b = 0; b < a.batch; ++b) total += keysOf(a, b);
    begin = total * thread / threads;
    end = total * (thread + 1) / threads;
  }
  Piece piece(int64_t before, int64_t keys) const { return {most(begin - before, 0), least(end - before, keys)}; }
};

/** A step of stored elements as float32, in the order that is cheapest to widen to. */
template <typename T>
struct Wide;
template <>
struct Wide<float> {
  static constexpr int kVectors = 1, kStep = kWidth;
  F vectors[1];
  static Wide read(const float* p) { return {{load(p)}}; }
  static Wide readPart(const float* p, int64_t count) { return {{loadPart(p, count)}}; }
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

/** Size is the head size where it is known, so that loops over it unroll; else 0. */
template <typename T, int Size>
class Decoder {
 public:
  Decoder(const Attention& arguments, const Team& team) : a_(arguments), team_(team), layout_(arguments, team.threads) {
    float* scratch = static_cast<float*>(a_.scratch);
    float* own = scratch + layout_.ownBegin + team.thread * layout_.own;
    q_ = reinterpret_cast<Prepared*>(own);
    scores_ = own + layout_.rows * layout_.padded;
    group_ = a_.heads / a_.keyValueHeads;
  }

  void run() {
    // Whole heads for each thread need no combining, but reading all heads of a position follows the order of memory:
    // 92% of plain reads against 60%. So heads are divided only where sequences stay whole, or are short.
    const int64_t units = a_.batch * a_.keyValueHeads;
    if (units % team_.threads == 0 && splitsHeads()) return runByHeads(units);
    const Division division(a_, team_.thread, team_.threads);
    int64_t before = 0;
    for (int64_t b = 0; b < a_.batch; ++b) {
      const int64_t keys = keysOf(a_, b);
      const Piece piece = division.piece(before, keys);
      before += keys;
      if (piece.begin < piece.end) attend(b, piece, {0, a_.keyValueHeads}, partial(b, team_.thread));
    }
    team_.barrier();
    const Share share(a_.batch * layout_.rows, team_);
    for (int64_t unit = share.begin; unit < share.end; ++unit) combine(unit / layout_.rows, unit % layout_.rows);
  }

 private:
  using Prepared = typename Dot<T>::Prepared;

  bool splitsHeads() const {
    int64_t longest = 0;
    for (int64_t b = 0; b < a_.batch; ++b) longest = most(longest, keysOf(a_, b));
    return a_.batch % team_.threads == 0 || longest <= kBlock;
  }

  void runByHeads(int64_t units) {
    const Share share(units, team_);
    for (int64_t b = 0; b < a_.batch; ++b) {
      const Piece heads = {most(share.begin - b * a_.keyValueHeads, 0),
                           least(share.end - b * a_.keyValueHeads, a_.keyValueHeads)};
      if (heads.begin >= heads.end) continue;
      float* result = partial(0, team_.thread);
      attend(b, {0, keysOf(a_, b)}, heads, result);
      for (int64_t query = 0; query < a_.queries; ++query)
        for (int64_t head = heads.begin * group_; head < heads.end * group_; ++head) {
          const int64_t row = query * a_.heads + head;
          const F scale = splat(1.0f / result[layout_.rows + row]);
          float* values = result + roundUp(2 * layout_.rows, 16) + row * layout_.padded;
          for (int64_t d = 0; d < layout_.padded; d += kWidth) store(values + d, load(values + d) * scale);
          write(b, row, values);
        }
    }
  }

  void write(int64_t b, int64_t row, const float* values) const {
    T* y = static_cast<T*>(a_.y) + (b * layout_.rows + row) * a_.headSize;
    for (int64_t d = 0; d < headSize(); ++d) put(y + d, values[Wide<T>::place(d)]);
  }

  float* partial(int64_t b, int thread) const {
    return static_cast<float*>(a_.scratch) + (b * team_.threads + thread) * layout_.partial;
  }

  /** The result of positions `piece` and key/value heads `heads` of one sequence. */
  void attend(int64_t b, Piece piece, Piece heads, float* maxima) {
    heads_ = heads;
    if (a_.newKey) {
      const int64_t start = startOf(a_, b);  // new rows are written by the thread that reads them
      appendRows<T>(a_, b, most(piece.begin - start, 0), least(piece.end - start, a_.queries),
                    heads.begin * a_.headSize, heads.end * a_.headSize);
    }
    float* totals = maxima + layout_.rows;
    float* values = maxima + roundUp(2 * layout_.rows, 16);
    eachRow([&](int64_t query, int64_t head, int64_t row) {
      maxima[row] = kLowest;
      totals[row] = 0;
      prepareRow<T>(q_ + row * layout_.padded, rowOf<T>(a_.q, b, query) + head * a_.headSize, a_.headSize);
      __builtin_memset(values + row * layout_.padded, 0, size_t(layout_.padded) * sizeof(float));
    });
    for (int64_t first = piece.begin; first < piece.end; first += kBlock) {
      const int64_t count = least(kBlock, piece.end - first);
      scoreBlock(b, first, count);
      eachRow([&](int64_t query, int64_t, int64_t row) {
        const int64_t seen = least(visibleKeys(a_, b, query) - first, count);
        soften(row, seen, maxima + row, totals + row, values + row * layout_.padded);
      });
      addBlock(b, first, count, values);
    }
  }

  template <typename Job>
  void eachRow(Job job) const {
    for (int64_t query = 0; query < a_.queries; ++query)
      for (int64_t head = heads_.begin * group_; head < heads_.end * group_; ++head)
        job(query, head, query * a_.heads + head);
  }

  int64_t headSize() const { return Size ? Size : a_.headSize; }

  /** Prefetches along with reading one head at `from`: memory is fastest when it is asked in order. */
  void prefetchHead(const T* from) const {
    const char* next = reinterpret_cast<const char*>(from) + kAhead;
    for (int64_t byte = 0; byte < headSize() * int64_t(sizeof(T)); byte += 64) prefetch(next + byte);
  }

  /** Scores of all queries and heads; their lanes are summed kWidth scores at a time. */
  void scoreBlock(int64_t b, int64_t first, int64_t count) {
    constexpr int kStep = Dot<T>::kStep;
    const int64_t size = headSize();
    F pending[kWidth];
    float* places[kWidth];
    int waiting = 0;
    for (int64_t p = 0; p < count; ++p) {
      const T* k = rowOf<T>(a_.k, b, first + p) + heads_.begin * size;
      for (int64_t g = heads_.begin; g < heads_.end; ++g, k += size) {
        prefetchHead(k);
        for (int64_t query = 0; query < a_.queries; ++query) {
          const int64_t row = query * a_.heads + g * group_;
          const Prepared* q = q_ + row * layout_.padded;
          for (int64_t j = 0; j < group_; ++j, q += layout_.padded) {
            F sums = {};
            int64_t d = 0;
            ONEHEAD_UNROLL(4)
            for (; d + kStep <= size; d += kStep) sums = Dot<T>::step(Dot<T>::read(k + d), q + d, sums);
            if (d < size) sums = Dot<T>::step(Dot<T>::readPart(k + d, size - d), q + d, sums);
            pending[waiting] = sums;
            places[waiting] = scores_ + (row + j) * kBlock + p;
            if (++waiting < kWidth) continue;
            flush(pending, places, waiting);
            waiting = 0;
          }
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

  /** Turns one row's scores into weights under the new maximum, and brings the old sums to it. */
  void soften(int64_t row, int64_t seen, float* maximum, float* total, float* values) {
    float* scores = scores_ + row * kBlock;
    for (int64_t p = most(seen, 0); p < kBlock; ++p) scores[p] = -kInfinity;
    F top = splat(kLowest);
    for (int p = 0; p < kBlock; p += kWidth) top = larger(top, load(scores + p));
    const float c = a_.scale * kLog2E;
    float highest = largest(top) * c;
    if (highest < *maximum) highest = *maximum;
    F sums = {};
    for (int p = 0; p < kBlock; p += kWidth) {
      const F raw = load(scores + p);
      const F weight = exp2(fused(raw, splat(c), splat(-highest)));
      const F seenWeight = raw == splat(-kInfinity) ? F{} : weight;
      store(scores + p, seenWeight);
      sums += seenWeight;
    }
    const float old = exp2(splat(*maximum - highest))[0];
    *total = *total * old + sum(sums);
    if (*maximum != highest)
      for (int64_t d = 0; d < layout_.padded; d += kWidth) store(values + d, load(values + d) * splat(old));
    *maximum = highest;
  }

  /**
   * values += weights . V of one block. One position at a time is best for memory (96% of plain reads against 83%); where
   * several queries share V, two load and store the sums half as often.
   */
  void addBlock(int64_t b, int64_t first, int64_t count, float* values) {
    int64_t p = 0;
    if (group_ * a_.queries == 1)
      for (; p < count; ++p) addPositions<1>(rowOf<T>(a_.v, b, first + p), p, values);
    for (; p + 2 <= count; p += 2) addPositions<2>(rowOf<T>(a_.v, b, first + p), p, values);
    if (p < count) addPositions<1>(rowOf<T>(a_.v, b, first + p), p, values);
  }

  template <int Count>
  void addPositions(const T* v, int64_t p, float* values) {
    constexpr int kStep = Wide<T>::kStep;
    const int64_t size = headSize();
    v += heads_.begin * size;
    for (int64_t g = heads_.begin; g < heads_.end; ++g, v += size) {
      for (int i = 0; i < Count; ++i) prefetchHead(v + i * a_.v.rowStride);
      ONEHEAD_UNROLL(2)
      for (int64_t d = 0; d < size; d += kStep) {
        Wide<T> wide[Count];
        for (int i = 0; i < Count; ++i) {
          const T* from = v + i * a_.v.rowStride + d;
          wide[i] = d + kStep <= size ? Wide<T>::read(from) : Wide<T>::readPart(from, size - d);
        }
        for (int64_t query = 0; query < a_.queries; ++query) {
          const int64_t row = query * a_.heads + g * group_;
          for (int64_t j = 0; j < group_; ++j) {
            float* y = values + (row + j) * layout_.padded + d;
            const float* weights = scores_ + (row + j) * kBlock + p;
            for (int c = 0; c < Wide<T>::kVectors; ++c) {
              F sums = load(y + c * kWidth);
              for (int i = 0; i < Count; ++i) sums = fused(splat(weights[i]), wide[i].vectors[c], sums);
              store(y + c * kWidth, sums);
            }
          }
        }
      }
    }
  }

  /** Joins the threads' partial results of one query and head. */
  void combine(int64_t b, int64_t row) const {
    int64_t before = 0;
    for (int64_t earlier = 0; earlier < b; ++earlier) before += keysOf(a_, earlier);
    const int64_t keys = keysOf(a_, b);
    float maximum = kLowest;
    bool has[kMostThreads];
    const int threads = team_.threads < kMostThreads ? team_.threads : kMostThreads;
    for (int thread = 0; thread < threads; ++thread) {
      const Piece piece = Division(a_, thread, team_.threads).piece(before, keys);
      has[thread] = piece.begin < piece.end;
      if (has[thread] && partial(b, thread)[row] > maximum) maximum = partial(b, thread)[row];
    }
    float scale[kMostThreads];
    float total = 0;
    for (int thread = 0; thread < threads; ++thread) {
      if (!has[thread]) continue;
      const float* one = partial(b, thread);
      scale[thread] = exp2(splat(one[row] - maximum))[0];
      total += scale[thread] * one[layout_.rows + row];
    }
    float joined[kMostHeadSize];
    for (int64_t d = 0; d < layout_.padded; d += kWidth) {
      F sums = {};
      for (int thread = 0; thread < threads; ++thread)
        if (has[thread])
          sums += splat(scale[thread]) *
                  load(partial(b, thread) + roundUp(2 * layout_.rows, 16) + row * layout_.padded + d);
      store(joined + d, sums * splat(1.0f / total));
    }
    write(b, row, joined);
  }

  static constexpr int kMostThreads = 1024;
  static constexpr int kMostHeadSize = 1024;

  const Attention& a_;
  const Team& team_;
  const Layout layout_;
  Prepared* q_;
  float* scores_;
  int64_t group_;   // query heads of a key/value head
  Piece heads_;     // key/value heads at work
};

}  // namespace

size_t attentionDecodeBytes(const Attention& a, int threads) {
  const Layout layout(a, threads);
  return size_t(layout.ownBegin + threads * layout.own) * sizeof(float);
}

void attentionDecode(const Attention& a, const Team& team) {
  const bool usual = a.headSize == 64;
  if (a.format == Format::bfloat16) return usual ? Decoder<Bf16, 64>(a, team).run() : Decoder<Bf16, 0>(a, team).run();
  return usual ? Decoder<float, 64>(a, team).run() : Decoder<float, 0>(a, team).run();
}

}  // namespace onehead::cpu::ONEHEAD_ISA
