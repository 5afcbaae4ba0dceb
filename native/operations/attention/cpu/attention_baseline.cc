// multi-head attention as a baseline: scores, softmax and values in three passes, with the whole float32 score matrix
// in memory between them.
//
// The matrix is [batch, heads, query tiles][keys][queryTile]: each tile is transposed, as the micro-kernel of
// attention_tile.h writes and reads it.
#include "attention_tile.h"
#include "cpu/kernels/family.h"
#include "cpu/kernels/math.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

/** Scratch memory, in floats: the matrix, then for each thread packed keys or values, queries, weights and sums. */
struct Layout {
  int64_t tiles, tileSize, matrix, queries, weights, sums, perThread;

  Layout(const AttentionArguments& a, bool pairs) {
    const PackedSize size(a.headSize, a.keys, pairs);
    tiles = (a.queries + queryTile - 1) / queryTile;
    tileSize = size.keys * queryTile;
    matrix = a.batch * a.heads * tiles * tileSize;
    queries = roundUp(max(size.keyWords(), size.valueWords(pairs)), 16);
    weights = queries + size.depth * queryTile;
    sums = weights + keyTile * queryTile;
    perThread = roundUp(sums + size.columns * queryTile, 16);
  }
};

template <typename T, bool Pairs>
class Baseline {
 public:
  Baseline(const AttentionArguments& arguments, const Team& team)
      : a_(arguments), team_(team), layout_(arguments, Pairs) {
    matrix_ = static_cast<float*>(a_.scratch);
    packed_ = matrix_ + layout_.matrix + team.thread * layout_.perThread;
  }

  void run() {
    if (a_.stage != AttentionStage::all) return run(a_.stage);
    run(AttentionStage::scores);
    team_.barrier();
    run(AttentionStage::softmax);
    team_.barrier();
    run(AttentionStage::values);
  }

 private:
  void run(AttentionStage pass) {
    if (pass == AttentionStage::scores) appendTogether<T>(a_, team_);
    const Share share(a_.batch * a_.heads * layout_.tiles, team_);
    int64_t source = -1;
    for (int64_t index = share.begin; index < share.end; ++index) {
      const Unit unit(*this, index);
      if (pass == AttentionStage::scores)
        scores(unit, &source);
      else if (pass == AttentionStage::softmax)
        computeWeights(unit);
      else
        values(unit, &source);
    }
  }

  struct Unit {
    int64_t b, head, first, rows, keys;
    float* matrix;
    PackedSize size;

    Unit(const Baseline& baseline, int64_t unit)
        : b(unit / baseline.layout_.tiles / baseline.a_.heads),
          head(unit / baseline.layout_.tiles % baseline.a_.heads),
          first(unit % baseline.layout_.tiles * queryTile),
          rows(min(queryTile, baseline.a_.queries - first)),
          keys(keysOf(baseline.a_, b)),
          matrix(baseline.matrix_ + unit * baseline.layout_.tileSize),
          size(baseline.a_.headSize, keys, Pairs) {}
  };

  /** Returns true if the thread must pack this unit's key/value head, because it last packed another one. */
  bool isNew(const Unit& unit, int64_t* source) const {
    const int64_t wanted = unit.b * a_.keyValueHeads + keyValueHead(a_, unit.head);
    const bool differs = *source != wanted;
    *source = wanted;
    return differs;
  }

  void scores(const Unit& unit, int64_t* source) {
    if (isNew(unit, source)) {
      const T* k = rowOf<T>(a_.k, unit.b, 0) + keyValueHead(a_, unit.head) * a_.headSize;
      packKeys<T, Pairs>(k, a_.k.rowStride, unit.keys, a_.headSize, unit.size, packed_);
    }
    const T* q = rowOf<T>(a_.q, unit.b, unit.first) + unit.head * a_.headSize;
    float* queries = packed_ + layout_.queries;
    packQueries<T, Pairs>(q, a_.q.rowStride, unit.rows, a_.headSize, unit.size, querySign(a_), queries);
    alignas(64) int32_t seenKeys[queryTile];
    for (int64_t i = 0; i < queryTile; ++i)
      seenKeys[i] = int32_t(visibleKeys(a_, unit.b, unit.first + min(i, unit.rows - 1)));
    I seen[maxVectors];
    __builtin_memcpy(seen, seenKeys, sizeof seen);
    F maxima[maxVectors] = {};
    for (int64_t key = 0; key < unit.size.keys; key += keyTile) {
      float* tile = unit.matrix + key * queryTile;
      scoreTile<Pairs, maxVectors, 0>(packed_, queries, unit.size, key, seen, key + keyTile > seenKeys[0], tile,
                                      maxima);
      writeScores(a_, unit.b, unit.head, unit.first, unit.rows, key, tile);
    }
  }

  void computeWeights(const Unit& unit) {
    for (int c = 0; c < maxVectors; ++c) {
      float* column = unit.matrix + c * vectorWidth;
      F factor = splat(positiveScale(a_) * log2E), highest = splat(-1e30f);
      for (int64_t key = 0; key < unit.size.keys; ++key) highest = max(highest, load(column + key * queryTile));
      const F lowered = -(highest * factor);
      if (maxLane(max(lowered, -lowered)) > largeExponent) {
        for (int64_t key = 0; key < unit.size.keys; ++key)
          store(column + key * queryTile, load(column + key * queryTile) * factor);
        factor = splat(1.0f);
      }
      F total = {};
      for (int64_t key = 0; key < unit.size.keys; ++key) {
        const F weight = exp2(fused(load(column + key * queryTile), factor, lowered));
        total += weight;
        store(column + key * queryTile, weight);
      }
      const F scale = splat(1.0f) / total;
      for (int64_t key = 0; key < unit.size.keys; ++key)
        store(column + key * queryTile, load(column + key * queryTile) * scale);
    }
  }

  void values(const Unit& unit, int64_t* source) {
    if (isNew(unit, source)) {
      const T* v = rowOf<T>(a_.v, unit.b, 0) + keyValueHead(a_, unit.head) * a_.headSize;
      packValues<T, Pairs>(v, a_.v.rowStride, unit.keys, a_.headSize, unit.size, packed_);
    }
    float* sums = packed_ + layout_.sums;
    __builtin_memset(sums, 0, size_t(unit.size.columns * queryTile) * sizeof(float));
    const F same[maxVectors] = {splat(1.0f), splat(1.0f), splat(1.0f)};
    for (int64_t key = 0; key < unit.size.keys; key += keyTile) {
      const float* weights = unit.matrix + key * queryTile;
      if constexpr (Pairs) {
        float* pairs = packed_ + layout_.weights;
        for (int64_t row = 0; row < keyTile; row += 2)
          for (int64_t i = 0; i < queryTile; i += vectorWidth)
            store(pairs + row / 2 * queryTile + i,
                  pairWeights(load(weights + row * queryTile + i), load(weights + (row + 1) * queryTile + i)));
        weights = pairs;
      }
      const float* v = packed_ + (Pairs ? key / 2 : key) * unit.size.columns;
      valueTile<Pairs, maxVectors>(v, weights, unit.size, same, sums);
    }
    float ones[queryTile];
    for (float& one : ones) one = 1.0f;
    const int64_t stride = a_.heads * a_.headSize;
    T* y = outputOf<T>(a_) + (unit.b * a_.queries + unit.first) * stride + unit.head * a_.headSize;
    writeValues(sums, ones, unit.rows, a_.headSize, y, stride);
  }

  const AttentionArguments& a_;
  const Team& team_;
  const Layout layout_;
  float *matrix_, *packed_;
};

}  // namespace

size_t attentionBaselineScratch(const AttentionArguments& a, int threads) {
  const Layout layout(a, pairsBfloat16 && a.type == DType::bfloat16);
  return size_t(layout.matrix + threads * layout.perThread) * sizeof(float);
}

void attentionBaseline(const AttentionArguments& a, const Team& team) {
  if (a.type == DType::bfloat16) return Baseline<Bf16, pairsBfloat16>(a, team).run();
  Baseline<float, false>(a, team).run();
}

}  // namespace onehead::cpu::ONEHEAD_ISA
