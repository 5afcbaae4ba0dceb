// memory-efficient attention: a streaming softmax over tiles of keys for each tile of queries (FlashAttention on a
// CPU).
//
// A unit of work is a tile of queryTile queries of one head. The keys and values of a head are packed once into the
// thread's own scratch memory and serve all its tiles. Scores, weights and sums of a tile stay in the L1 cache.
#include "attention_int16.h"
#include "attention_tiles.h"
#include "cpu/kernels/family.h"
#include "cpu/kernels/math.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

/** With tiles, a query's sums are rescaled only if its maximum has grown by more than a factor of 2^keptGrowth, as in
 * FlashAttention-4. Otherwise most tiles of keys would rescale some query of the tile. Each element of a sum is at most
 * 2^keptGrowth times a value, so sums are finite for values up to 1e30. */
constexpr float keptGrowth = 8;
constexpr float lowestScore = -1e30f;  // below any score, but finite, so that differences are not NaN

/** The words that are multiplied: float32, or pairs of bfloat16 (by vectors or by tiles) or int16. */
enum class Words { floats, bfloat16, int16, tiles };
/** Those for bfloat16 elements. */
constexpr Words bfloat16Words = multipliesTiles   ? Words::tiles
                                : pairsBfloat16   ? Words::bfloat16
                                : multipliesInt16 ? Words::int16
                                                  : Words::floats;
/** Below this number of queries, packing keys and values as integers takes longer than products of floats. */
constexpr int64_t manyQueries = 64;

/** Those for a call. Causal attention has none of integers: a query's values would be rounded to steps of later, larger
 * ones. */
Words wordsOf(const AttentionArguments& a) {
  if (a.type != DType::bfloat16) return Words::floats;
  return bfloat16Words == Words::int16 && (a.causal || a.queries < manyQueries) ? Words::floats : bfloat16Words;
}

PackedSize sizeOf(const AttentionArguments& a, int64_t keys, Words words) {
  PackedSize size(a.headSize, keys, words != Words::floats);
  if (words == Words::tiles) {
    size.depth = roundUp(size.depth, tileBytes / 4);
    size.columns = roundUp(size.columns, tileRows);
  }
  return size;
}

/** Offsets in a thread's scratch memory, in floats. */
struct Layout {
  int64_t keys, values, queries, scores, next, sums, perThread;
  int64_t keyScales, valueScales, queryScales, row;  // of int16

  Layout(const AttentionArguments& a, Words words) {
    const bool pairs = words != Words::floats;
    const PackedSize size = sizeOf(a, a.keys, words);
    keys = 0;
    values = keys + roundUp(size.keyWords(), 16);
    queries = values + roundUp(size.valueWords(pairs), 16);
    scores = queries + size.depth * queryTile;
    next = scores + keyTile * queryTile;  // with tiles, the scores of the tile of keys after this one
    sums = next + (words == Words::tiles ? keyTile * queryTile : 0);
    keyScales = roundUp(sums + size.columns * queryTile, 16);
    perThread = keyScales;
    if (words != Words::int16) return;
    valueScales = keyScales + size.keys;
    queryScales = roundUp(valueScales + size.keys / keyTile * size.columns, 16);
    row = queryScales + roundUp(queryTile, 16);
    perThread = row + 2 * roundUp(a.headSize + 1, 16);
  }
};

/** Size is the head size if it is known at compile time, so that strides are constants; otherwise 0. */
template <typename T, Words words, int Size>
class Streaming {
  static constexpr bool Int16 = words == Words::int16, Tiles = words == Words::tiles;
  static constexpr bool Pairs = words == Words::bfloat16 || Tiles;

 public:
  Streaming(const AttentionArguments& arguments, const Team& team) : a_(arguments), team_(team) {
    const Layout layout(a_, words);
    float* threadScratch = static_cast<float*>(a_.scratch) + team.thread * layout.perThread;
    keys_ = threadScratch + layout.keys;
    values_ = threadScratch + layout.values;
    queries_ = threadScratch + layout.queries;
    scores_ = threadScratch + layout.scores;
    next_ = threadScratch + layout.next;
    sums_ = threadScratch + layout.sums;
    if constexpr (Int16) {
      keyScales_ = threadScratch + layout.keyScales;
      valueScales_ = threadScratch + layout.valueScales;
      queryScales_ = threadScratch + layout.queryScales;
      row_ = threadScratch + layout.row;
    }
  }

  void run() {
    appendTogether<T>(a_, team_);
    const int64_t tiles = (a_.queries + queryTile - 1) / queryTile, units = a_.heads * tiles;
    // A unit's cost is proportional to its entry's number of keys, which differs between rows of a pool.
    auto costOf = [&](int64_t b) { return max(keysOf(a_, stateRow(a_, b)), 1); };
    int64_t cost = 0, before = 0;
    for (int64_t b = 0; b < a_.batch; ++b) cost += costOf(b) * units;
    const Share share(cost, team_);
    for (int64_t b = 0; b < a_.batch; ++b) {
      // The units of this entry whose cost begins in this thread's share.
      const int64_t each = costOf(b), row = stateRow(a_, b);
      const int64_t begin = max(share.begin - before + each - 1, 0) / each;
      const int64_t end = min(max(share.end - before + each - 1, 0) / each, units);
      before += each * units;
      if (keysOf(a_, row) == 0) {
        for (int64_t unit = begin; unit < end; ++unit) clear(b, unit / tiles, unit % tiles * queryTile);
        continue;
      }
      int64_t packed = -1;
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t head = unit / tiles, first = unit % tiles * queryTile;
        if (keyValueHead(a_, head) != packed) pack(row, packed = keyValueHead(a_, head));
        const int64_t left = a_.queries - first;
        if (left > 2 * vectorWidth) {
          attend<3>(b, row, head, first);
        } else if (left > vectorWidth) {
          attend<2>(b, row, head, first);
        } else {
          attend<1>(b, row, head, first);
        }
      }
    }
  }

 private:
  /** The output of an entry without visible keys is zero. */
  void clear(int64_t b, int64_t head, int64_t first) const {
    for (int64_t i = first; i < min(first + queryTile, a_.queries); ++i)
      __builtin_memset(output(b, head, i), 0, size_t(a_.headSize) * sizeof(T));
  }

  T* output(int64_t b, int64_t head, int64_t query) const {
    return outputOf<T>(a_) + ((b * a_.queries + query) * a_.heads + head) * a_.headSize;
  }

  void pack(int64_t row, int64_t head) {
    const int64_t count = keysOf(a_, row), begin = head * a_.headSize;
    const PackedSize size = sizeOf(a_, count, words);
    const T* k = firstKey<T>(a_, a_.k, row) + begin;
    const T* v = firstKey<T>(a_, a_.v, row) + begin;
    if constexpr (Int16) {
      packKeysInt16(k, a_.k.rowStride, count, a_.headSize, size, row_, keys_, keyScales_);
      packValuesInt16(v, a_.v.rowStride, count, a_.headSize, size, values_, valueScales_);
    } else {
      packKeys<T, Pairs>(k, a_.k.rowStride, count, a_.headSize, size, keys_);
      if constexpr (Tiles) {
        packValueTiles(v, a_.v.rowStride, count, a_.headSize, size, values_);
      } else {
        packValues<T, Pairs>(v, a_.v.rowStride, count, a_.headSize, size, values_);
      }
    }
  }

  template <int Vectors>
  void attend(int64_t b, int64_t row, int64_t head, int64_t first) {
    const int64_t rows = min(Vectors * vectorWidth, a_.queries - first);
    const PackedSize size = sizeOf(a_, keysOf(a_, row), words);
    const T* q = rowOf<T>(a_.q, b, first) + head * a_.headSize;
    if constexpr (Int16) {
      packQueriesInt16(q, a_.q.rowStride, rows, a_.headSize, size, querySign(a_), row_, queries_, queryScales_);
    } else {
      packQueries<T, Pairs>(q, a_.q.rowStride, rows, a_.headSize, size, querySign(a_), queries_);
    }
    __builtin_memset(sums_, 0, size_t(size.columns * queryTile) * sizeof(float));

    alignas(64) int32_t seenKeys[queryTile];
    for (int64_t i = 0; i < queryTile; ++i) seenKeys[i] = int32_t(visibleKeys(a_, row, first + min(i, rows - 1)));
    const int64_t fewest = seenKeys[0], end = seenKeys[rows - 1];
    I seen[Vectors];
    F maxima[Vectors], totals[Vectors], factors[Vectors];
    for (int c = 0; c < Vectors; ++c) {
      factors[c] = splat(positiveScale(a_));
      // Never 0, like positiveScale.
      if constexpr (Int16) factors[c] = max(splat(0x1p-126f), factors[c] * load(queryScales_ + c * vectorWidth));
      __builtin_memcpy(&seen[c], seenKeys + c * vectorWidth, sizeof(I));
      maxima[c] = splat(lowestScore);
      totals[c] = F{};
    }
    // With tiles, the scores of the next tile of keys are computed beside the weights of this one.
    F nextHighest[Vectors];
    int64_t nextKey = 0;
    auto scoreNext = [&](int64_t block) __attribute__((always_inline)) {
      if constexpr (Tiles) {
        if (nextKey >= end) return;
        if (block < keyTile)
          scoreTiles<Vectors, Size / 2>(keys_, queries_, size, nextKey + block, next_ + block * queryTile);
        if (block == 0) {
          for (int c = 0; c < Vectors; ++c) nextHighest[c] = splat(lowestScore);
        } else {
          const int64_t before = block - tileRows;
          maskTile<Vectors>(nextKey + before, seen, nextKey + keyTile > fewest, next_ + before * queryTile,
                            nextHighest);
        }
      }
    };
    if constexpr (Tiles)
      for (int64_t block = 0; block <= keyTile; block += tileRows) scoreNext(block);
    for (int64_t key = 0; key < end; key += keyTile) {
      F highest[Vectors], old[Vectors];
      for (int c = 0; c < Vectors; ++c) highest[c] = Tiles ? nextHighest[c] : splat(lowestScore);
      const bool masked = key + keyTile > fewest;
      if constexpr (Int16) {
        scoreTileInt16<Vectors, Size / 2>(keys_, keyScales_, queries_, size, key, seen, masked, scores_, highest);
      } else if constexpr (Tiles) {
        float* scores = scores_;
        scores_ = next_;
        next_ = scores;
        nextKey = key + keyTile;
      } else {
        scoreTile<Pairs, Vectors, Pairs ? Size / 2 : Size>(keys_, queries_, size, key, seen, masked, scores_, highest);
      }
      writeScores(a_, b, head, first, rows, key, scores_, Int16 ? queryScales_ : nullptr);
      computeWeights<Vectors>(factors, highest, maxima, totals, old, scoreNext);
      scoreNext(keyTile);
      if constexpr (Int16) {
        valueTileInt16<Vectors>(values_ + key / 2 * size.columns, valueScales_ + key / keyTile * size.columns, scores_,
                                size, old, sums_);
      } else if constexpr (Tiles) {
        valueTiles<Vectors>(values_ + key / 2 * size.columns, scores_, size, old, sums_);
      } else {
        valueTile<Pairs, Vectors>(values_ + (Pairs ? key / 2 : key) * size.columns, scores_, size, old, sums_);
      }
    }
    float scale[queryTile];
    for (int c = 0; c < Vectors; ++c) store(scale + c * vectorWidth, splat(1.0f) / totals[c]);
    const int64_t stride = a_.heads * a_.headSize;
    writeValues(sums_, scale, rows, a_.headSize, output(b, head, first), stride);
  }

  /** Replaces the tile's scores by weights relative to the new maxima; `old` rescales the earlier sums. Calls
   * `beside(row)` every 16 rows. */
  template <int Vectors, typename Beside>
  void computeWeights(const F* factors, const F* highest, F* maxima, F* totals, F* old, Beside beside) {
    F factor[Vectors], lowered[Vectors], largest = {};
    for (int c = 0; c < Vectors; ++c) {
      factor[c] = factors[c] * splat(log2E);
      const F tileMaximum = highest[c] * factor[c];
      F maximum = max(maxima[c], tileMaximum);  // base 2, rounded once for all uses
      if constexpr (Tiles) maximum = tileMaximum > maxima[c] + splat(keptGrowth) ? maximum : maxima[c];
      old[c] = exp2(maxima[c] - maximum);
      maxima[c] = maximum;
      lowered[c] = -maximum;
      totals[c] *= old[c];
      largest = max(largest, max(maximum, lowered[c]));
    }
    if (maxLane(largest) > largeExponent) {
      for (int c = 0; c < Vectors; ++c) {
        for (int64_t row = 0; row < keyTile; ++row) {
          float* score = scores_ + row * queryTile + c * vectorWidth;
          store(score, load(score) * factor[c]);
        }
        factor[c] = splat(1.0f);
      }
    }
    constexpr bool coarse = words != Words::floats;
    constexpr int rowStep = coarse ? 2 : 1, scale = Int16 ? weightScale : 1;
    for (int64_t row = 0; row < keyTile; row += rowStep) {
      if (row % 16 == 0) beside(row);
      float* from = scores_ + row * queryTile;
      ONEHEAD_UNROLL(3)
      for (int c = 0; c < Vectors; ++c) {
        const F weight = exp2<coarse, scale>(fused(load(from + c * vectorWidth), factor[c], lowered[c]));
        totals[c] += weight;
        if constexpr (coarse) {
          const F next = exp2<coarse, scale>(fused(load(from + queryTile + c * vectorWidth), factor[c], lowered[c]));
          totals[c] += next;
          store(scores_ + row / 2 * queryTile + c * vectorWidth,
                Int16 ? pairWeightsInt16(weight, next) : pairWeights(weight, next));
        } else {
          store(from + c * vectorWidth, weight);
        }
      }
    }
  }

  const AttentionArguments& a_;
  const Team& team_;
  float *keys_, *values_, *queries_, *scores_, *next_, *sums_;
  float *keyScales_, *valueScales_, *queryScales_, *row_;  // of int16
};

}  // namespace

size_t attentionStreamingScratch(const AttentionArguments& a, int threads) {
  return size_t(Layout(a, wordsOf(a)).perThread) * size_t(threads) * sizeof(float);
}

void attentionStreaming(const AttentionArguments& a, const Team& team) {
  const bool usual = a.headSize == 64;
  if (a.type == DType::float32)
    return usual ? Streaming<float, Words::floats, 64>(a, team).run()
                 : Streaming<float, Words::floats, 0>(a, team).run();
  if constexpr (bfloat16Words == Words::int16)
    if (wordsOf(a) == Words::floats) return Streaming<Bf16, Words::floats, 0>(a, team).run();
#if ONEHEAD_TILES
  const TileUse use;
#endif
  return usual ? Streaming<Bf16, bfloat16Words, 64>(a, team).run() : Streaming<Bf16, bfloat16Words, 0>(a, team).run();
}

}  // namespace onehead::cpu::ONEHEAD_ISA
