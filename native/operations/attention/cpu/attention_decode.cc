// Decode attention: few queries over many keys, bound by reading K and V once (Flash-Decoding on a CPU).
//
// The positions of each sequence are divided into blocks of blockPositions, and the blocks of all sequences, one behind
// the other, over the threads, so that each reads contiguous rows of all heads, and threads have as much to do where
// some sequences are longer than others. Neighbours that see one range of a pool of positions are one sequence here,
// whose keys are read once. Of each block come partial results (maximum, sum, values) of each query and head: scores of
// all heads (K), a softmax, then the weighted sum (V). They are joined in the order of the blocks, after a barrier: so
// what a sequence gives depends neither on its neighbours nor on the number of threads.
#include "attention_decode_block.h"
#include "cpu/kernels/family.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int64_t mostEntries = 16;  // that one pass serves

/** Blocks of so many positions. */
inline int64_t blocksOf(int64_t keys) { return (keys + blockPositions - 1) / blockPositions; }

/** Where things lie in scratch; in floats. */
struct Layout {
  int64_t rows;                      // of an entry: queries x heads
  int64_t padded;                    // headSize in whole steps of any vector
  int64_t blocks;                    // of an entry, at most
  int64_t maxima, totals;            // [entries x rows][blocks]
  int64_t values;                    // the same, padded each
  int64_t ownBegin, own;             // of each thread: passes, prepared queries, scores
  int64_t queries, factors, scores;  // in that

  explicit Layout(const AttentionArguments& a) {
    const int64_t together = a.keyBegin ? smaller(a.batch, mostEntries) : 1;
    rows = a.queries * a.heads;
    padded = roundUp(a.headSize, 32);
    blocks = blocksOf(a.keys);
    maxima = 0;
    totals = a.batch * rows * blocks;
    values = roundUp(2 * totals, 16);
    ownBegin = values + totals * padded;
    queries = roundUp(a.batch * int64_t(sizeof(Pass) / sizeof(float)), 16);
    factors = queries + together * rows * padded;
    scores = roundUp(factors + together * rows, 16);
    own = roundUp(scores + together * rows * blockPositions, 16);
  }
};

/** T is what the cache holds, V what queries, new rows and y are. Size is the head size where it is known, so that
 * loops over it unroll; else 0. */
template <typename T, int Size, typename V = T>
class Decoder {
 public:
  Decoder(const AttentionArguments& arguments, const Team& team)
      : a_(arguments),
        team_(team),
        layout_(arguments),
        shared_(static_cast<float*>(a_.scratch)),
        own_(shared_ + layout_.ownBegin + team.thread * layout_.own),
        passes_(reinterpret_cast<Pass*>(own_)),
        block_(a_, layout_.padded, reinterpret_cast<Prepared*>(own_ + layout_.queries), own_ + layout_.factors,
               own_ + layout_.scores) {
    findPasses();
  }

  void run() {
    clearIdle();
    // Whole heads for each thread need no barrier, but reading all heads of a position follows the order of memory:
    // 92% of plain reads against 60%. So heads are divided only where sequences stay whole, or are short.
    const int64_t units = count_ * a_.keyValueHeads;
    if (units % team_.threads == 0 && splitsHeads()) return runByHeads(units);
    const Share share(blocks_, team_);
    for (int64_t i = 0; i < count_; ++i) {
      const Pass& pass = passes_[i];
      const Piece mine = {larger(share.begin - pass.before, 0), smaller(share.end - pass.before, blocksOf(pass.keys))};
      attend(pass, mine, {0, a_.keyValueHeads});
    }
    team_.barrier();
    const Share rows(a_.batch * layout_.rows, team_);
    int64_t next = 0;  // the pass of a row's entry, or the one behind it where the entry is idle
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const int64_t b = row / layout_.rows;
      while (next < count_ && passes_[next].entry + passes_[next].entries <= b) ++next;
      if (next < count_ && passes_[next].entry <= b) join(passes_[next], row - passes_[next].entry * layout_.rows);
    }
  }

 private:
  using Prepared = typename Dot<T>::Prepared;

  /** Every thread finds the same. */
  void findPasses() {
    int64_t place = 0;
    for (int64_t b = 0; b < a_.batch; ++b) {
      const int64_t row = stateRow(a_, b), keys = keysOf(a_, row);
      if (keys == 0) continue;
      Pass* last = count_ > 0 ? &passes_[count_ - 1] : nullptr;
      if (a_.keyBegin && last && last->entry + last->entries == b && last->entries < mostEntries &&
          last->keys == keys && a_.keyBegin[last->row] == a_.keyBegin[row]) {
        ++last->entries;
        continue;
      }
      passes_[count_++] = {b, 1, row, keys, blocks_, 0};
      blocks_ += blocksOf(keys);
      longest_ = larger(longest_, keys);
      total_ += keys;
    }
    for (int64_t i = 0; i < count_; ++i) {
      passes_[i].place = place;
      place += blocksOf(passes_[i].keys) * passes_[i].entries * layout_.rows;
    }
  }

  bool splitsHeads() const {
    if (longest_ <= blockPositions) return true;
    // Rows of a pool come together at any length: where one is much longer than the others, positions are divided.
    if ((a_.rows || a_.keyBegin) && longest_ * count_ * 7 > total_ * 8) return false;
    return count_ % team_.threads == 0;
  }

  void runByHeads(int64_t units) {
    const Share share(units, team_);
    for (int64_t i = 0; i < count_; ++i) {
      const Piece heads = {larger(share.begin - i * a_.keyValueHeads, 0),
                           smaller(share.end - i * a_.keyValueHeads, a_.keyValueHeads)};
      if (heads.begin >= heads.end) continue;
      attend(passes_[i], {0, blocksOf(passes_[i].keys)}, heads);
      block_.eachRow([&](int64_t, int64_t, int64_t, int64_t row) { join(passes_[i], row); });
    }
  }

  /** Entries that see nothing give zeros. */
  void clearIdle() const {
    if (!a_.rows && !a_.keyBegin) return;
    const int64_t size = layout_.rows * a_.headSize;
    for (int64_t b = team_.thread; b < a_.batch; b += team_.threads)
      if (keysOf(a_, stateRow(a_, b)) == 0) __builtin_memset(outputOf<V>(a_) + b * size, 0, size_t(size) * sizeof(V));
  }

  /** Where the partial results of a block's rows lie, the rows being the queries and heads of all of the pass. */
  int64_t placeOf(const Pass& pass, int64_t block) const { return pass.place + block * pass.entries * layout_.rows; }
  float* maxima(int64_t place) const { return shared_ + place; }
  float* totals(int64_t place) const { return shared_ + layout_.totals + place; }
  float* values(int64_t place) const { return shared_ + layout_.values + place * layout_.padded; }

  /** The partial results of some blocks and key/value heads of one pass. */
  void attend(const Pass& pass, Piece blocks, Piece heads) {
    if (blocks.begin >= blocks.end) return;
    block_.setPass(pass, heads);
    block_.eachRow([&](int64_t b, int64_t query, int64_t head, int64_t row) {
      block_.prepareQuery(row, rowOf<V>(a_.q, b, query) + head * a_.headSize);
    });
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
      const int64_t first = block * blockPositions, count = smaller(blockPositions, pass.keys - first);
      if (a_.newKey.data) {
        const int64_t start = startOf(a_, pass.row);  // new rows are written by the thread that reads them
        const int64_t begin = larger(first - start, 0), end = smaller(first + count - start, a_.queries);
        const int64_t from = heads.begin * a_.headSize, to = heads.end * a_.headSize;
        if constexpr (scaled<T>) {
          appendBytes<V>(a_, pass.entry, begin, end, from, to);
        } else {
          appendRows<T>(a_, pass.entry, begin, end, from, to);
        }
      }
      const int64_t place = placeOf(pass, block);
      block_.score(first, count);
      block_.giveScores(first, count);
      block_.eachRow([&](int64_t, int64_t query, int64_t, int64_t row) {
        const int64_t seen = smaller(visibleKeys(a_, pass.row, query) - first, count);
        block_.soften(row, seen, maxima(place) + row, totals(place) + row);
        __builtin_memset(values(place + row), 0, size_t(layout_.padded) * sizeof(float));
      });
      block_.add(first, count, values(place));
    }
  }

  /** Joins the blocks' partial results of one row of a pass, in their order, and writes it to y. */
  void join(const Pass& pass, int64_t row) const {
    const int64_t blocks = blocksOf(pass.keys);
    float maximum = lowest;
    for (int64_t block = 0; block < blocks; ++block) {
      const float own = maxima(placeOf(pass, block))[row];
      if (own > maximum) maximum = own;
    }
    float total = 0;
    for (int64_t block = 0; block < blocks; ++block) {
      float* own = maxima(placeOf(pass, block)) + row;
      *own = exp2(splat(*own - maximum))[0];  // the block's scale from here on
      total += *own * totals(placeOf(pass, block))[row];
    }
    float joined[mostHeadSize];
    for (int64_t d = 0; d < layout_.padded; d += vectorWidth) {
      F sums = {};
      for (int64_t block = 0; block < blocks; ++block) {
        const int64_t place = placeOf(pass, block);
        sums += splat(maxima(place)[row]) * load(values(place + row) + d);
      }
      store(joined + d, sums * splat(1.0f / total));
    }
    V* y = outputOf<V>(a_) + (pass.entry * layout_.rows + row) * a_.headSize;
    for (int64_t d = 0; d < a_.headSize; ++d) put(y + d, joined[Values<T>::place(d)]);
  }

  static constexpr int mostHeadSize = 1024;

  const AttentionArguments& a_;
  const Team& team_;
  const Layout layout_;
  float* const shared_;
  float* const own_;
  Pass* const passes_;
  DecodeBlock<T, Size> block_;
  int64_t count_ = 0, blocks_ = 0, total_ = 0, longest_ = 0;  // passes, their blocks and keys, and the most keys of one
};

}  // namespace

size_t attentionDecodeScratch(const AttentionArguments& a, int threads) {
  const Layout layout(a);
  return size_t(layout.ownBegin + threads * layout.own) * sizeof(float);
}

void attentionDecode(const AttentionArguments& a, const Team& team) {
  const bool usual = a.headSize == 64;
  if (a.keyScales) {
    if (a.type == DType::bfloat16)
      return usual ? Decoder<Int8, 64, Bf16>(a, team).run() : Decoder<Int8, 0, Bf16>(a, team).run();
    return usual ? Decoder<Int8, 64, float>(a, team).run() : Decoder<Int8, 0, float>(a, team).run();
  }
  if (a.type == DType::bfloat16) return usual ? Decoder<Bf16, 64>(a, team).run() : Decoder<Bf16, 0>(a, team).run();
  return usual ? Decoder<float, 64>(a, team).run() : Decoder<float, 0>(a, team).run();
}

}  // namespace onehead::cpu::ONEHEAD_ISA
