// Decode attention: few queries over many keys, bound by reading K and V once (Flash-Decoding on a CPU).
//
// The positions of all sequences, one behind the other, are divided over the threads, so that each reads contiguous
// rows of all heads. A thread goes by blocks of kBlock positions: scores of all heads (K), a streaming softmax, then
// the weighted sum (V). The partial results (maximum, sum, values) of each sequence meet after a barrier.
#include "attention_decode_block.h"
#include "family.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

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

/** The share of the concatenated positions of all sequences that a thread has. */
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

/** Size is the head size where it is known, so that loops over it unroll; else 0. */
template <typename T, int Size>
class Decoder {
 public:
  Decoder(const Attention& arguments, const Team& team)
      : a_(arguments),
        team_(team),
        layout_(arguments, team.threads),
        q_(reinterpret_cast<Prepared*>(static_cast<float*>(a_.scratch) + layout_.ownBegin + team.thread * layout_.own)),
        block_(a_, layout_.padded, q_, reinterpret_cast<float*>(q_) + layout_.rows * layout_.padded) {}

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
      block_.eachRow([&](int64_t, int64_t, int64_t row) {
        const F scale = splat(1.0f / result[layout_.rows + row]);
        float* values = result + roundUp(2 * layout_.rows, 16) + row * layout_.padded;
        for (int64_t d = 0; d < layout_.padded; d += kWidth) store(values + d, load(values + d) * scale);
        write(b, row, values);
      });
    }
  }

  void write(int64_t b, int64_t row, const float* values) const {
    T* y = static_cast<T*>(a_.y) + (b * layout_.rows + row) * a_.headSize;
    for (int64_t d = 0; d < a_.headSize; ++d) put(y + d, values[Wide<T>::place(d)]);
  }

  float* partial(int64_t b, int thread) const {
    return static_cast<float*>(a_.scratch) + (b * team_.threads + thread) * layout_.partial;
  }

  /** The result of positions `piece` and key/value heads `heads` of one sequence. */
  void attend(int64_t b, Piece piece, Piece heads, float* maxima) {
    block_.setHeads(heads);
    if (a_.newKey) {
      const int64_t start = startOf(a_, b);  // new rows are written by the thread that reads them
      appendRows<T>(a_, b, most(piece.begin - start, 0), least(piece.end - start, a_.queries),
                    heads.begin * a_.headSize, heads.end * a_.headSize);
    }
    float* totals = maxima + layout_.rows;
    float* values = maxima + roundUp(2 * layout_.rows, 16);
    block_.eachRow([&](int64_t query, int64_t head, int64_t row) {
      maxima[row] = kLowest;
      totals[row] = 0;
      prepareRow<T>(q_ + row * layout_.padded, rowOf<T>(a_.q, b, query) + head * a_.headSize, a_.headSize);
      __builtin_memset(values + row * layout_.padded, 0, size_t(layout_.padded) * sizeof(float));
    });
    for (int64_t first = piece.begin; first < piece.end; first += kBlock) {
      const int64_t count = least(kBlock, piece.end - first);
      block_.score(b, first, count);
      block_.giveScores(b, first, count);
      block_.eachRow([&](int64_t query, int64_t, int64_t row) {
        const int64_t seen = least(visibleKeys(a_, b, query) - first, count);
        block_.soften(row, seen, maxima + row, totals + row, values + row * layout_.padded);
      });
      block_.add(b, first, count, values);
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
  Prepared* const q_;
  DecodeBlock<T, Size> block_;
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
