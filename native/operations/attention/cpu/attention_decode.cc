// split-kv, attention of a decode step: few queries and many keys. Reading keys and values is the bound, so they are
// read once (Flash-Decoding on a CPU).
//
// Each sequence's positions are divided into blocks of blockPositions, and the blocks of all sequences over the
// threads. So each thread reads contiguous rows of all heads, and work is balanced if sequences have different lengths.
// Neighbouring entries with the same range of a pool of positions are one pass, whose keys are read once. For each
// query and head, a block yields a partial result (maximum, sum, weighted values). After a barrier the partial results
// are combined in the order of the blocks, so a sequence's result depends neither on its neighbours nor on the number
// of threads.
//
// History
//   Bandwidth relative to a plain loop of reads, while this kernel was written: dividing positions among the threads
//   92%, dividing heads 60%; adding values one position at a time 96%, two at once 83%.
//   Before, each thread had a share of all keys instead of whole blocks: neighbours or another number of threads
//   changed the last bits of a result, and in bfloat16 sometimes a word.
//   int8 caches in terms of bfloat16's time (cross-attention of one row over 1,500 positions, six layers of base with
//   caches of their own, one thread; docs/performance.md): widening to float32 0.90 to 1.20 with AVX512-BF16, 0.90 to
//   0.93 with AVX-512, 1.12 to 1.16 with AVX2; products of 16-bit integers, as now, 0.81, 0.78 to 0.82, 0.52 to 0.55.
#include "attention_decode_block.h"
#include "cpu/kernels/family.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int64_t maxEntriesPerPass = 16;  // of one pass

/** The number of blocks. */
inline int64_t blocksOf(int64_t keys) { return (keys + blockPositions - 1) / blockPositions; }

/** Offsets in scratch memory, in floats. */
struct Layout {
  int64_t rows;                        // of an entry: queries x heads
  int64_t padded;                      // headSize rounded up to whole steps of any vector width
  int64_t blocks;                      // of an entry, at most
  int64_t maxima, totals;              // [entries x rows][blocks]
  int64_t values;                      // [entries x rows][blocks][padded]
  int64_t threadBegin, threadScratch;  // each thread's scratch: passes, prepared queries, scores
  int64_t queries, factors, scores;    // offsets in a thread's scratch

  explicit Layout(const AttentionArguments& a) {
    const int64_t entriesPerPass = a.keyBegin ? min(a.batch, maxEntriesPerPass) : 1;
    rows = a.queries * a.heads;
    padded = roundUp(a.headSize, 32);
    blocks = blocksOf(a.keyLimit);
    maxima = 0;
    totals = a.batch * rows * blocks;
    values = roundUp(2 * totals, 16);
    threadBegin = values + totals * padded;
    queries = roundUp(a.batch * int64_t(sizeof(Pass) / sizeof(float)), 16);
    factors = queries + entriesPerPass * rows * padded;
    scores = roundUp(factors + entriesPerPass * rows, 16);
    threadScratch = roundUp(scores + entriesPerPass * rows * blockPositions, 16);
  }
};

/** T is the cache's type, V that of queries, new rows and y. Size is the head size if it is known at compile time, so
 * that loops over it unroll; otherwise 0. */
template <typename T, int Size, typename V = T>
class Decoder {
 public:
  Decoder(const AttentionArguments& arguments, const Team& team)
      : a_(arguments),
        team_(team),
        layout_(arguments),
        scratch_(static_cast<float*>(a_.scratch)),
        threadScratch_(scratch_ + layout_.threadBegin + team.thread * layout_.threadScratch),
        passes_(reinterpret_cast<Pass*>(threadScratch_)),
        block_(a_, layout_.padded, reinterpret_cast<Prepared*>(threadScratch_ + layout_.queries),
               threadScratch_ + layout_.factors, threadScratch_ + layout_.scores) {
    findPasses();
  }

  void run() {
    clearIdle();
    // Dividing whole heads among threads needs no barrier, but reading all heads of a position follows the order of
    // memory (see History). So heads are divided only if sequences are not, or are short.
    const int64_t units = count_ * a_.keyValueHeads;
    if (units % team_.threads == 0 && splitsHeads()) return runByHeads(units);
    const Share share(blocks_, team_);
    for (int64_t i = 0; i < count_; ++i) {
      const Pass& pass = passes_[i];
      const Range ownBlocks = {max(share.begin - pass.firstBlock, 0),
                               min(share.end - pass.firstBlock, blocksOf(pass.keys))};
      attend(pass, ownBlocks, {0, a_.keyValueHeads});
    }
    team_.barrier();
    const Share rows(a_.batch * layout_.rows, team_);
    int64_t next = 0;  // the pass of the row's entry, or the following one if the entry is idle
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const int64_t b = row / layout_.rows;
      while (next < count_ && passes_[next].entry + passes_[next].entries <= b) ++next;
      if (next < count_ && passes_[next].entry <= b) combine(passes_[next], row - passes_[next].entry * layout_.rows);
    }
  }

 private:
  using Prepared = typename Dot<T>::Prepared;

  /** Every thread computes the same passes. */
  void findPasses() {
    int64_t firstPart = 0;
    for (int64_t b = 0; b < a_.batch; ++b) {
      const int64_t row = stateRow(a_, b), keys = keysOf(a_, row);
      if (keys == 0) continue;
      Pass* last = count_ > 0 ? &passes_[count_ - 1] : nullptr;
      if (a_.keyBegin && last && last->entry + last->entries == b && last->entries < maxEntriesPerPass &&
          last->keys == keys && a_.keyBegin[last->row] == a_.keyBegin[row]) {
        ++last->entries;
        continue;
      }
      passes_[count_++] = {b, 1, row, keys, blocks_, 0};
      blocks_ += blocksOf(keys);
      longest_ = max(longest_, keys);
      total_ += keys;
    }
    for (int64_t i = 0; i < count_; ++i) {
      passes_[i].firstPart = firstPart;
      firstPart += blocksOf(passes_[i].keys) * passes_[i].entries * layout_.rows;
    }
  }

  bool splitsHeads() const {
    if (longest_ <= blockPositions) return true;
    // Rows of a pool have any length: if one is much longer than the others, positions are divided.
    if ((a_.rows || a_.keyBegin) && longest_ * count_ * 7 > total_ * 8) return false;
    return count_ % team_.threads == 0;
  }

  void runByHeads(int64_t units) {
    const Share share(units, team_);
    for (int64_t i = 0; i < count_; ++i) {
      const Range heads = {max(share.begin - i * a_.keyValueHeads, 0),
                           min(share.end - i * a_.keyValueHeads, a_.keyValueHeads)};
      if (heads.begin >= heads.end) continue;
      attend(passes_[i], {0, blocksOf(passes_[i].keys)}, heads);
      block_.eachRow([&](int64_t, int64_t, int64_t, int64_t row) { combine(passes_[i], row); });
    }
  }

  /** Entries without visible keys have zero as output. */
  void clearIdle() const {
    if (!a_.rows && !a_.keyBegin) return;
    const int64_t size = layout_.rows * a_.headSize;
    for (int64_t b = team_.thread; b < a_.batch; b += team_.threads)
      if (keysOf(a_, stateRow(a_, b)) == 0) __builtin_memset(outputOf<V>(a_) + b * size, 0, size_t(size) * sizeof(V));
  }

  /** The index of a block's partial results; its rows are the queries and heads of all entries of the pass. */
  int64_t partIndex(const Pass& pass, int64_t block) const {
    return pass.firstPart + block * pass.entries * layout_.rows;
  }
  float* maxima(int64_t index) const { return scratch_ + index; }
  float* totals(int64_t index) const { return scratch_ + layout_.totals + index; }
  float* values(int64_t index) const { return scratch_ + layout_.values + index * layout_.padded; }

  /** Computes the partial results of some blocks and key/value heads of one pass. */
  void attend(const Pass& pass, Range blocks, Range heads) {
    if (blocks.begin >= blocks.end) return;
    block_.setPass(pass, heads);
    block_.eachRow([&](int64_t b, int64_t query, int64_t head, int64_t row) {
      block_.prepareQuery(row, rowOf<V>(a_.q, b, query) + head * a_.headSize);
    });
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
      const int64_t first = block * blockPositions, count = min(blockPositions, pass.keys - first);
      if (a_.newKey.data) {
        const int64_t start = startOf(a_, pass.row);  // the thread that reads new rows also writes them to the cache
        const int64_t begin = max(first - start, 0), end = min(first + count - start, a_.queries);
        const int64_t from = heads.begin * a_.headSize, to = heads.end * a_.headSize;
        if constexpr (scaled<T>) {
          appendBytes<V>(a_, pass.entry, begin, end, from, to);
        } else {
          appendRows<T>(a_, pass.entry, begin, end, from, to);
        }
      }
      const int64_t index = partIndex(pass, block);
      block_.score(first, count);
      block_.writeScores(first, count);
      block_.eachRow([&](int64_t, int64_t query, int64_t, int64_t row) {
        const int64_t seen = min(visibleKeys(a_, pass.row, query) - first, count);
        block_.softmaxRow(row, seen, maxima(index) + row, totals(index) + row);
        __builtin_memset(values(index + row), 0, size_t(layout_.padded) * sizeof(float));
      });
      block_.add(first, count, values(index));
    }
  }

  /** Combines the partial results of one row of a pass, in the order of the blocks, and writes the result to y. */
  void combine(const Pass& pass, int64_t row) const {
    const int64_t blocks = blocksOf(pass.keys);
    float maximum = lowestScore;
    for (int64_t block = 0; block < blocks; ++block) {
      const float blockMaximum = maxima(partIndex(pass, block))[row];
      if (blockMaximum > maximum) maximum = blockMaximum;
    }
    float total = 0;
    for (int64_t block = 0; block < blocks; ++block) {
      float* factor = maxima(partIndex(pass, block)) + row;
      *factor = exp2(splat(*factor - maximum))[0];  // replaces the block's maximum
      total += *factor * totals(partIndex(pass, block))[row];
    }
    float combined[maxHeadSize];
    for (int64_t d = 0; d < layout_.padded; d += vectorWidth) {
      F sums = {};
      for (int64_t block = 0; block < blocks; ++block) {
        const int64_t index = partIndex(pass, block);
        sums += splat(maxima(index)[row]) * load(values(index + row) + d);
      }
      store(combined + d, sums * splat(1.0f / total));
    }
    V* y = outputOf<V>(a_) + (pass.entry * layout_.rows + row) * a_.headSize;
    for (int64_t d = 0; d < a_.headSize; ++d) put(y + d, combined[Values<T>::sumIndex(d)]);
  }

  static constexpr int maxHeadSize = 1024;

  const AttentionArguments& a_;
  const Team& team_;
  const Layout layout_;
  float* const scratch_;
  float* const threadScratch_;
  Pass* const passes_;
  DecodeBlock<T, Size> block_;
  int64_t count_ = 0, blocks_ = 0, total_ = 0, longest_ = 0;  // passes; their blocks; their keys; the longest's keys
};

}  // namespace

size_t attentionDecodeScratch(const AttentionArguments& a, int threads) {
  const Layout layout(a);
  return size_t(layout.threadBegin + threads * layout.threadScratch) * sizeof(float);
}

void attentionDecode(const AttentionArguments& a, const Team& team) {
  const bool headSize64 = a.headSize == 64;
  if (a.keyScales) {
    if (a.type == DType::bfloat16)
      return headSize64 ? Decoder<Int8, 64, Bf16>(a, team).run() : Decoder<Int8, 0, Bf16>(a, team).run();
    return headSize64 ? Decoder<Int8, 64, float>(a, team).run() : Decoder<Int8, 0, float>(a, team).run();
  }
  if (a.type == DType::bfloat16) return headSize64 ? Decoder<Bf16, 64>(a, team).run() : Decoder<Bf16, 0>(a, team).run();
  return headSize64 ? Decoder<float, 64>(a, team).run() : Decoder<float, 0>(a, team).run();
}

}  // namespace onehead::cpu::ONEHEAD_ISA
