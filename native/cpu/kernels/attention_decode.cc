// Decode attention: few queries over many keys, bound by reading K and V once (Flash-Decoding on a CPU).
//
// The positions of all sequences, one behind the other, are divided over the threads, so that each reads contiguous
// rows of all heads, and threads have as much to do where some sequences are longer than others. Neighbours that see
// one range of a pool of positions are one sequence here, whose keys are read once. A thread goes by blocks of kBlock
// positions: scores of all heads (K), a streaming softmax, then the weighted sum (V). The partial results (maximum,
// sum, values) of each query and head meet after a barrier.
#include "attention_decode_block.h"
#include "family.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int64_t kMostEntries = 16;  // that one pass serves

/** Where things lie in scratch; in floats. */
struct Layout {
  int64_t rows;                   // of an entry: queries x heads
  int64_t padded;                 // headSize in whole steps of any vector
  int64_t sums, values, partial;  // one thread's partial results: maxima at 0, all of every entry's rows
  int64_t ownBegin, own;          // of each thread: passes, prepared queries, scores
  int64_t queries, scores;        // in that

  Layout(const Attention& a, int threads) {
    const int64_t together = a.keyBegin ? least(a.batch, kMostEntries) : 1;
    rows = a.queries * a.heads;
    padded = roundUp(a.headSize, 32);
    sums = a.batch * rows;
    values = roundUp(2 * sums, 16);
    partial = values + sums * padded;
    ownBegin = threads * partial;
    queries = roundUp(a.batch * int64_t(sizeof(Pass) / sizeof(float)), 16);
    scores = queries + together * rows * padded;
    own = scores + together * rows * kBlock;
  }
};

/** Size is the head size where it is known, so that loops over it unroll; else 0. */
template <typename T, int Size>
class Decoder {
 public:
  Decoder(const Attention& arguments, const Team& team)
      : a_(arguments),
        team_(team),
        layout_(arguments, team.threads),
        own_(static_cast<float*>(a_.scratch) + layout_.ownBegin + team.thread * layout_.own),
        passes_(reinterpret_cast<Pass*>(own_)),
        q_(reinterpret_cast<Prepared*>(own_ + layout_.queries)),
        block_(a_, layout_.padded, q_, own_ + layout_.scores) {
    findPasses();
  }

  void run() {
    clearIdle();
    // Whole heads for each thread need no combining, but reading all heads of a position follows the order of memory:
    // 92% of plain reads against 60%. So heads are divided only where sequences stay whole, or are short.
    const int64_t units = count_ * a_.keyValueHeads;
    if (units % team_.threads == 0 && splitsHeads()) return runByHeads(units);
    for (int64_t i = 0; i < count_; ++i) {
      const Pass& pass = passes_[i];
      const Piece piece = pieceOf(pass, team_.thread);
      if (piece.begin < piece.end)
        attend(pass, piece, {0, a_.keyValueHeads}, partial(team_.thread, pass.entry * layout_.rows));
    }
    team_.barrier();
    const Share share(layout_.sums, team_);
    int64_t next = 0;  // the pass of a row's entry, or the one behind it where the entry is idle
    for (int64_t row = share.begin; row < share.end; ++row) {
      const int64_t b = row / layout_.rows;
      while (next < count_ && passes_[next].entry + passes_[next].entries <= b) ++next;
      if (next < count_ && passes_[next].entry <= b) combine(passes_[next], row);
    }
  }

 private:
  using Prepared = typename Dot<T>::Prepared;

  /** Partial results from one row on. */
  struct Partial {
    float *maxima, *totals, *values;
  };

  /** Every thread finds the same. */
  void findPasses() {
    for (int64_t b = 0; b < a_.batch; ++b) {
      const int64_t row = stateRow(a_, b), keys = keysOf(a_, row);
      if (keys == 0) continue;
      Pass* last = count_ > 0 ? &passes_[count_ - 1] : nullptr;
      if (a_.keyBegin && last && last->entry + last->entries == b && last->entries < kMostEntries &&
          last->keys == keys && a_.keyBegin[last->row] == a_.keyBegin[row]) {
        ++last->entries;
        continue;
      }
      passes_[count_++] = {b, 1, row, keys, total_};
      total_ += keys;
      longest_ = most(longest_, keys);
    }
  }

  /** The positions of a pass that a thread has. */
  Piece pieceOf(const Pass& pass, int thread) const {
    const int64_t begin = total_ * thread / team_.threads, end = total_ * (thread + 1) / team_.threads;
    return {most(begin - pass.before, 0), least(end - pass.before, pass.keys)};
  }

  bool splitsHeads() const {
    if (longest_ <= kBlock) return true;
    // Rows of a pool come together at any length: where one is much longer than the others, positions are divided.
    if ((a_.rows || a_.keyBegin) && longest_ * count_ * 7 > total_ * 8) return false;
    return count_ % team_.threads == 0;
  }

  void runByHeads(int64_t units) {
    const Share share(units, team_);
    for (int64_t i = 0; i < count_; ++i) {
      const Piece heads = {most(share.begin - i * a_.keyValueHeads, 0),
                           least(share.end - i * a_.keyValueHeads, a_.keyValueHeads)};
      if (heads.begin >= heads.end) continue;
      const Partial result = partial(team_.thread, 0);
      attend(passes_[i], {0, passes_[i].keys}, heads, result);
      block_.eachRow([&](int64_t, int64_t, int64_t, int64_t row) {
        const F scale = splat(1.0f / result.totals[row]);
        float* values = result.values + row * layout_.padded;
        for (int64_t d = 0; d < layout_.padded; d += kWidth) store(values + d, load(values + d) * scale);
        write(passes_[i].entry * layout_.rows + row, values);
      });
    }
  }

  /** Entries that see nothing give zeros. */
  void clearIdle() const {
    if (!a_.rows && !a_.keyBegin) return;
    const int64_t size = layout_.rows * a_.headSize;
    for (int64_t b = team_.thread; b < a_.batch; b += team_.threads)
      if (keysOf(a_, stateRow(a_, b)) == 0)
        __builtin_memset(static_cast<T*>(a_.y) + b * size, 0, size_t(size) * sizeof(T));
  }

  /** `row` counts all entries' queries and heads. */
  void write(int64_t row, const float* values) const {
    T* y = static_cast<T*>(a_.y) + row * a_.headSize;
    for (int64_t d = 0; d < a_.headSize; ++d) put(y + d, values[Wide<T>::place(d)]);
  }

  Partial partial(int thread, int64_t row) const {
    float* base = static_cast<float*>(a_.scratch) + thread * layout_.partial;
    return {base + row, base + layout_.sums + row, base + layout_.values + row * layout_.padded};
  }

  /** The result of positions `piece` and key/value heads `heads` of one pass. */
  void attend(const Pass& pass, Piece piece, Piece heads, const Partial& result) {
    block_.setPass(pass, heads);
    if (a_.newKey) {
      const int64_t start = startOf(a_, pass.row);  // new rows are written by the thread that reads them
      appendRows<T>(a_, pass.entry, most(piece.begin - start, 0), least(piece.end - start, a_.queries),
                    heads.begin * a_.headSize, heads.end * a_.headSize);
    }
    block_.eachRow([&](int64_t b, int64_t query, int64_t head, int64_t row) {
      result.maxima[row] = kLowest;
      result.totals[row] = 0;
      prepareRow<T>(q_ + row * layout_.padded, rowOf<T>(a_.q, b, query) + head * a_.headSize, a_.headSize);
      __builtin_memset(result.values + row * layout_.padded, 0, size_t(layout_.padded) * sizeof(float));
    });
    for (int64_t first = piece.begin; first < piece.end; first += kBlock) {
      const int64_t count = least(kBlock, piece.end - first);
      block_.score(first, count);
      block_.giveScores(first, count);
      block_.eachRow([&](int64_t, int64_t query, int64_t, int64_t row) {
        const int64_t seen = least(visibleKeys(a_, pass.row, query) - first, count);
        block_.soften(row, seen, result.maxima + row, result.totals + row, result.values + row * layout_.padded);
      });
      block_.add(first, count, result.values);
    }
  }

  /** Joins the threads' partial results of one row. */
  void combine(const Pass& pass, int64_t row) const {
    float maximum = kLowest;
    bool has[kMostThreads];
    const int threads = team_.threads < kMostThreads ? team_.threads : kMostThreads;
    for (int thread = 0; thread < threads; ++thread) {
      const Piece piece = pieceOf(pass, thread);
      has[thread] = piece.begin < piece.end;
      if (has[thread] && *partial(thread, row).maxima > maximum) maximum = *partial(thread, row).maxima;
    }
    float scale[kMostThreads];
    float total = 0;
    for (int thread = 0; thread < threads; ++thread) {
      if (!has[thread]) continue;
      const Partial one = partial(thread, row);
      scale[thread] = exp2(splat(*one.maxima - maximum))[0];
      total += scale[thread] * *one.totals;
    }
    float joined[kMostHeadSize];
    for (int64_t d = 0; d < layout_.padded; d += kWidth) {
      F sums = {};
      for (int thread = 0; thread < threads; ++thread)
        if (has[thread]) sums += splat(scale[thread]) * load(partial(thread, row).values + d);
      store(joined + d, sums * splat(1.0f / total));
    }
    write(row, joined);
  }

  static constexpr int kMostThreads = 1024;
  static constexpr int kMostHeadSize = 1024;

  const Attention& a_;
  const Team& team_;
  const Layout layout_;
  float* const own_;
  Pass* const passes_;
  Prepared* const q_;
  DecodeBlock<T, Size> block_;
  int64_t count_ = 0, total_ = 0, longest_ = 0;  // passes, their keys, and the most of one
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
