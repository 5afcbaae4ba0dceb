// The products of attention_tile.h in 16-bit integers, for bfloat16 on CPUs without products of bfloat16: an
// instruction multiplies and adds twice as many as with float32. Words are pairs of neighbours along the sum.
//
// Each query and key has a scale of its own, as rows of kernels/int16.h do, so that scores do not overflow. Weights of
// a tile of keys are at most 2^14, up to a factor of 2 in huge scores. A column of the tile's values has a norm of at
// most 2^13, and weights one of at most 2^15 sqrt(64), so sums of a tile do not overflow either; they are added to
// float32 sums.
//
// History
//   1,500 positions, 8 heads, one thread of a Zen 5 limited to AVX2, CPU milliseconds on a busy machine: 45 with
//   floats, 34 with integers. With three vectors in registers, the compiler kept two of twelve sums in memory. Up to
//   16 queries floats are faster (0.5 instead of 1.0 for 4), since packing as integers takes longer.
#pragma once

#include "attention_tile.h"
#include "cpu/kernels/int16.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int weightScale = 1 << 14;
constexpr float valueNorm = 8150;  // below 2^13 after rounding of 64 elements by 1/2

/** sums[r][c] += sum over k of the pairs of broadcast[r * row + k * step] and vectors[k * queryTile + c]. */
template <int Vectors>
static inline __attribute__((always_inline)) void tileProduct(const int32_t* broadcast, int64_t row, int64_t step,
                                                              const float* vectors, int64_t count,
                                                              I (&sums)[broadcasts][Vectors]) {
  // Where products and sums are two instructions, 16 registers are one too few for three vectors beside the sums: the
  // third is read again for each broadcast element.
#if defined(__AVX512F__) || defined(__AVXVNNI__)
  constexpr int held = Vectors;
#else
  constexpr int held = Vectors < 2 ? Vectors : 2;
#endif
  for (int64_t k = 0; k < count; ++k) {
    I right[Vectors];
    ONEHEAD_UNROLL(3)
    for (int c = 0; c < held; ++c) right[c] = (I)load(vectors + c * vectorWidth);
    ONEHEAD_UNROLL(8)
    for (int r = 0; r < broadcasts; ++r) {
      const I left = splatInteger(broadcast[r * row]);
      if (held < Vectors) __asm__ volatile("" ::: "memory");
      ONEHEAD_UNROLL(3)
      for (int c = 0; c < Vectors; ++c)
        sums[r][c] = addPairs(sums[r][c], left, c < held ? right[c] : (I)load(vectors + c * vectorWidth));
    }
    broadcast += step;
    vectors += queryTile;
  }
}

/** Row `row` of a head as 16-bit integers, padded with a zero to whole words. Returns its scale. */
static inline float packRow(const Bf16* x, int64_t headSize, float sign, float* wide, int32_t* words) {
  int64_t i = 0;
  for (; i + vectorWidth <= headSize; i += vectorWidth) store(wide + i, load(x + i) * splat(sign));
  for (; i < headSize; ++i) wide[i] = get(x + i) * sign;
  int16_t* to = reinterpret_cast<int16_t*>(words);
  if (headSize % 2) to[headSize] = 0;
  return quantizeRowInt16(wide, headSize, to);
}

/** Packs K of one head as [key][word], and its scales; padding is zero. `wide` has room for a row. */
static inline void packKeysInt16(const Bf16* k, int64_t rowStride, int64_t rows, int64_t headSize,
                                 const PackedSize& size, float* wide, float* packed, float* scales) {
  for (int64_t key = 0; key < rows; ++key)
    scales[key] = packRow(k + key * rowStride, headSize, 1.0f, wide, (int32_t*)packed + key * size.depth);
  __builtin_memset(packed + rows * size.depth, 0, size_t((size.keys - rows) * size.depth) * sizeof(float));
  for (int64_t key = rows; key < size.keys; ++key) scales[key] = 0;
}

/** Packs a tile of queries of one head, times `sign`, as [word][queryTile], and their scales; padding is zero. `wide`
 * has room for a row as float32 and as words. */
static inline void packQueriesInt16(const Bf16* q, int64_t rowStride, int64_t rows, int64_t headSize,
                                    const PackedSize& size, float sign, float* wide, float* packed, float* scales) {
  int32_t* words = (int32_t*)(wide + roundUp(headSize, 16));
  for (int64_t i = 0; i < queryTile; ++i) {
    scales[i] = i < rows ? packRow(q + i * rowStride, headSize, sign, wide, words) : 1;
    if (scales[i] == 0) scales[i] = 1;  // scores are 0; the factor of a masked score must not be
    for (int64_t s = 0; s < size.depth; ++s) ((int32_t*)packed)[s * queryTile + i] = i < rows ? words[s] : 0;
  }
}

/** Packs V of one head as [pair of keys][columns], and the scales of columns of each tile, [tile][columns]. */
static inline void packValuesInt16(const Bf16* v, int64_t rowStride, int64_t rows, int64_t headSize,
                                   const PackedSize& size, float* packed, float* scales) {
  for (int64_t first = 0; first < size.keys; first += keyTile, scales += size.columns) {
    const int64_t count = min(keyTile, rows - first);
    for (int64_t d = 0; d < size.columns; d += vectorWidth) {
      const int64_t columns = min(vectorWidth, size.columns - d), given = min(vectorWidth, headSize - d);
      auto at = [&](int64_t key) __attribute__((always_inline)) {
        const Bf16* from = v + (first + key) * rowStride + d;
        return given == vectorWidth ? load(from) : loadPart(from, max(given, 0));
      };
      F top = {}, squares = {};
      for (int64_t key = 0; key < count; ++key) top = max(top, max(at(key), -at(key)));
      // A smaller value counts as zero, as in quantizeRow.
      const F shrink = top < splat(0x1p-100f) ? F{} : splat(1.0f) / top;
      for (int64_t key = 0; key < count; ++key) {
        const F value = at(key) * shrink;
        squares += value * value;
      }
      F norm;
      for (int i = 0; i < vectorWidth; ++i) norm[i] = __builtin_sqrtf(squares[i]);
      const F scale = top * (norm * splat(1.0f / valueNorm));
      const F inverse = shrink * (splat(valueNorm) / (norm > F{} || norm != norm ? norm : splat(1.0f)));
      float all[vectorWidth];
      store(all, norm > F{} || norm != norm ? scale : F{});
      for (int64_t i = 0; i < columns; ++i) scales[d + i] = all[i];
      for (int64_t key = 0; key < keyTile; key += 2) {
        const I low = key < count ? nearest(at(key) * inverse) : I{};
        const I high = key + 1 < count ? nearest(at(key + 1) * inverse) : I{};
        const F words = (F)((low & splatInteger(0xffff)) | high << 16);
        float* to = packed + (first + key) / 2 * size.columns + d;
        if (columns == vectorWidth) {
          store(to, words);
        } else {
          storePart(to, words, columns);
        }
      }
    }
  }
}

/** As scoreTile, of integers; scores are in units of the queries' scales. */
template <int Vectors, int Depth>
static inline void scoreTileInt16(const float* packedKeys, const float* keyScales, const float* packedQueries,
                                  const PackedSize& size, int64_t key, const I* seen, bool masked, float* scores,
                                  F* maxima) {
  for (int64_t block = 0; block < keyTile; block += broadcasts) {
    I sums[broadcasts][Vectors] = {};
    const int64_t depth = Depth ? Depth : size.depth;
    tileProduct<Vectors>((const int32_t*)packedKeys + (key + block) * depth, depth, 1, packedQueries, depth, sums);
    ONEHEAD_UNROLL(8)
    for (int r = 0; r < broadcasts; ++r) {
      const F scale = splat(keyScales[key + block + r]);
      ONEHEAD_UNROLL(3)
      for (int c = 0; c < Vectors; ++c) {
        F score = __builtin_convertvector(sums[r][c], F) * scale;
        if (masked) score = splatInteger(int32_t(key + block) + r) < seen[c] ? score : splat(-infinity);
        store(scores + (block + r) * queryTile + c * vectorWidth, score);
        maxima[c] = max(maxima[c], score);
      }
    }
  }
}

/** As valueTile, of integers. */
template <int Vectors>
static inline void valueTileInt16(const float* packedValues, const float* valueScales, const float* weights,
                                  const PackedSize& size, const F* old, float* values) {
  for (int64_t d = 0; d < size.columns; d += broadcasts) {
    I sums[broadcasts][Vectors] = {};
    float* to = values + d * queryTile;
    tileProduct<Vectors>((const int32_t*)packedValues + d, 1, size.columns, weights, keyTile / 2, sums);
    ONEHEAD_UNROLL(8)
    for (int r = 0; r < broadcasts; ++r) {
      const F scale = splat(valueScales[d + r]);
      ONEHEAD_UNROLL(3)
      for (int c = 0; c < Vectors; ++c) {
        float* sum = to + r * queryTile + c * vectorWidth;
        store(sum, load(sum) * old[c] + __builtin_convertvector(sums[r][c], F) * scale);
      }
    }
  }
}

/** Two rows of weights as pairs of integers. */
static inline F pairWeightsInt16(F low, F high) { return (F)(nearest(low) | nearest(high) << 16); }

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
