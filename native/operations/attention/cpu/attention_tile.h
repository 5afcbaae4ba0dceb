// The matrix products of attention over many queries, for memory-efficient attention and the baseline.
//
// Both products are computed transposed, with vectors along the queries:
//   scores^T[key, query]   = sum over d   of K[key, d] q^T[d, query]
//   values^T[d, query]     = sum over key of V[key, d] weights^T[key, query]
// So one element of K or V is broadcast and multiplied by a row of queryTile queries, the softmax needs no horizontal
// operations, and one micro-kernel does both: `broadcasts` elements times up to maxVectors vectors, with all sums in
// registers.
//
// Packed elements are 32-bit words: a float32, or with Pairs two bfloat16 that are neighbours along the sum (along d
// for scores, along keys for values), as vdpbf16ps takes them. Without Pairs, bfloat16 is widened when it is packed.
#pragma once

#include "attention_common.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int maxVectors = 3;
constexpr int broadcasts = vectorWidth == 16 ? 8 : 4;
constexpr int queryTile = maxVectors * vectorWidth;
constexpr int keyTile = 64;  // 32 and 128 were as fast

/** sums[r][c] += sum over k of broadcast[r * row + k * step] * vectors[k * queryTile + c]. */
template <bool Pairs, int Vectors>
static inline __attribute__((always_inline)) void tileProduct(const float* broadcast, int64_t row, int64_t step,
                                                              const float* vectors, int64_t count,
                                                              F (&sums)[broadcasts][Vectors]) {
  for (int64_t k = 0; k < count; ++k) {
    F right[Vectors];
    ONEHEAD_UNROLL(3)
    for (int c = 0; c < Vectors; ++c) right[c] = load(vectors + c * vectorWidth);
    ONEHEAD_UNROLL(8)
    for (int r = 0; r < broadcasts; ++r) {
      const F left = splat(broadcast[r * row]);
      ONEHEAD_UNROLL(3)
      for (int c = 0; c < Vectors; ++c) sums[r][c] = multiplyAdd<Pairs>(left, right[c], sums[r][c]);
    }
    broadcast += step;
    vectors += queryTile;
  }
}

/** Dimensions of one packed head, in words. */
struct PackedSize {
  int64_t depth;    // words of a key: the length of the sum of a score
  int64_t columns;  // headSize rounded up to whole blocks of `broadcasts`
  int64_t keys;     // rounded up to whole tiles

  PackedSize(int64_t headSize, int64_t keyCount, bool pairs) {
    depth = pairs ? (headSize + 1) / 2 : headSize;
    columns = roundUp(headSize, broadcasts);
    keys = roundUp(keyCount, keyTile);
  }
  int64_t keyWords() const { return keys * depth; }
  int64_t valueWords(bool pairs) const { return (pairs ? keys / 2 : keys) * columns; }
};

/** Two bfloat16 as one word. */
static inline float pairOf(Bf16 low, Bf16 high) { return asFloat(uint32_t(low.bits) | uint32_t(high.bits) << 16); }
static inline float pairOf(float, float) { return 0; }  // never called: float32 has no pairs

/** Words [s, s + count) of a row; count is at most vectorWidth. */
template <bool Pairs>
static inline F loadSteps(const float* row, int64_t s, int64_t count, int64_t) {
  return count == vectorWidth ? load(row + s) : loadPart(row + s, count);
}
template <bool Pairs>
static inline F loadSteps(const Bf16* row, int64_t s, int64_t count, int64_t headSize) {
  if constexpr (Pairs) {
    if (count == vectorWidth && 2 * (s + vectorWidth) <= headSize) return (F) * (const UnalignedU*)(row + 2 * s);
    return (F)loadWordsPart(row + 2 * s, min(2 * count, headSize - 2 * s));
  } else {
    return count == vectorWidth ? load(row + s) : loadPart(row + s, count);
  }
}

/** Packs K of one head, `rows` keys, as [key][word]; padding is zero. */
template <typename T, bool Pairs>
static inline void packKeys(const T* k, int64_t rowStride, int64_t rows, int64_t headSize, const PackedSize& size,
                            float* packed) {
  for (int64_t key = 0; key < rows; ++key, packed += size.depth, k += rowStride) {
    int64_t s = 0;
    for (; s + vectorWidth <= size.depth; s += vectorWidth)
      store(packed + s, loadSteps<Pairs>(k, s, vectorWidth, headSize));
    if (s < size.depth) storePart(packed + s, loadSteps<Pairs>(k, s, size.depth - s, headSize), size.depth - s);
  }
  __builtin_memset(packed, 0, size_t((size.keys - rows) * size.depth) * sizeof(float));
}

/** Packs V of one head as [key or pair of keys][columns]; padding is zero. */
template <typename T, bool Pairs>
static inline void packValues(const T* v, int64_t rowStride, int64_t rows, int64_t headSize, const PackedSize& size,
                              float* packed) {
  constexpr int keyStep = Pairs ? 2 : 1;
  for (int64_t key = 0; key < size.keys; key += keyStep, packed += size.columns, v += keyStep * rowStride) {
    int64_t d = 0;
    if (key + keyStep <= rows) {
      for (; d + vectorWidth <= headSize; d += vectorWidth) {
        const F first = load(v + d);
        if constexpr (Pairs) {
          store(packed + d, (F)((U)first >> 16 | (U)load(v + rowStride + d)));
        } else {
          store(packed + d, first);
        }
      }
    }
    for (; d < size.columns; ++d) {
      if (d >= headSize || key >= rows) {
        packed[d] = 0;
      } else if constexpr (Pairs) {
        packed[d] = pairOf(v[d], key + 1 < rows ? v[rowStride + d] : T{});
      } else {
        packed[d] = get(v + d);
      }
    }
  }
}

/** A vector of packed words times the sign of the queries. */
template <bool Pairs>
static inline F signedWords(F words, float sign) {
  if constexpr (Pairs) {
    const F low = (F)((U)words << 16) * splat(sign), high = (F)((U)words & 0xffff0000u) * splat(sign);
    return (F)((U)low >> 16 | ((U)high & 0xffff0000u));
  } else {
    return words * splat(sign);
  }
}

/** Packs a tile of queries of one head, times `sign`, as [word][queryTile]; padding is zero. */
template <typename T, bool Pairs>
static inline void packQueries(const T* q, int64_t rowStride, int64_t rows, int64_t headSize, const PackedSize& size,
                               float sign, float* packed) {
  for (int64_t first = 0; first < queryTile; first += vectorWidth) {
    for (int64_t s = 0; s < size.depth; s += vectorWidth) {
      const int64_t count = min(vectorWidth, size.depth - s);
      F square[vectorWidth];
      for (int64_t i = 0; i < vectorWidth; ++i)
        square[i] = first + i < rows ? loadSteps<Pairs>(q + (first + i) * rowStride, s, count, headSize) : F{};
      transposeSquare(square);
      for (int64_t i = 0; i < count; ++i) store(packed + (s + i) * queryTile + first, square[i]);
    }
  }
  if (sign == 1) return;
  for (int64_t i = 0; i < size.depth * queryTile; i += vectorWidth)
    store(packed + i, signedWords<Pairs>(load(packed + i), sign));
}

/** The scores of a tile of keyTile keys from `key` on, [key][queryTile]; -infinity for masked keys. Depth is size.depth
 * if it is known at compile time, otherwise 0. */
template <bool Pairs, int Vectors, int Depth>
static inline void scoreTile(const float* packedKeys, const float* packedQueries, const PackedSize& size, int64_t key,
                             const I* seen, bool masked, float* scores, F* maxima) {
  for (int64_t block = 0; block < keyTile; block += broadcasts) {
    F sums[broadcasts][Vectors] = {};
    const int64_t depth = Depth ? Depth : size.depth;
    tileProduct<Pairs, Vectors>(packedKeys + (key + block) * depth, depth, 1, packedQueries, depth, sums);
    ONEHEAD_UNROLL(8)
    for (int r = 0; r < broadcasts; ++r) {
      ONEHEAD_UNROLL(3)
      for (int c = 0; c < Vectors; ++c) {
        if (masked) sums[r][c] = splatInteger(int32_t(key + block) + r) < seen[c] ? sums[r][c] : splat(-infinity);
        store(scores + (block + r) * queryTile + c * vectorWidth, sums[r][c]);
        maxima[c] = max(maxima[c], sums[r][c]);
      }
    }
  }
}

/** Writes a tile's scores of `rows` queries from `first` on where they are wanted, times the queries' scales if given.
 */
static inline void writeScores(const AttentionArguments& a, int64_t b, int64_t head, int64_t first, int64_t rows,
                               int64_t key, const float* scores, const float* scales = nullptr) {
  if (!a.scores || a.scoreHeads[head] < 0) return;
  for (int64_t i = 0; i < rows; ++i) {
    float* to = scoresOf(a, b, first + i, head);
    if (!to) continue;
    const int64_t seen = min(visibleKeys(a, stateRow(a, b), first + i), a.scoreKeys) - key;
    const float scale = positiveScale(a) * (scales ? scales[i] : 1.0f);
    for (int64_t j = 0; j < min(seen, keyTile); ++j) to[key + j] = scores[j * queryTile + i] * scale;
  }
}

/** values^T[d, query] = values^T * old + packed values x weights, for one tile of keys. */
template <bool Pairs, int Vectors>
static inline void valueTile(const float* packedValues, const float* weights, const PackedSize& size, const F* old,
                             float* values) {
  constexpr int64_t tileSteps = Pairs ? keyTile / 2 : keyTile;
  for (int64_t d = 0; d < size.columns; d += broadcasts) {
    F sums[broadcasts][Vectors];
    float* to = values + d * queryTile;
    ONEHEAD_UNROLL(8)
    for (int r = 0; r < broadcasts; ++r) {
      ONEHEAD_UNROLL(3)
      for (int c = 0; c < Vectors; ++c) sums[r][c] = load(to + r * queryTile + c * vectorWidth) * old[c];
    }
    tileProduct<Pairs, Vectors>(packedValues + d, 1, size.columns, weights, tileSteps, sums);
    ONEHEAD_UNROLL(8)
    for (int r = 0; r < broadcasts; ++r) {
      ONEHEAD_UNROLL(3)
      for (int c = 0; c < Vectors; ++c) store(to + r * queryTile + c * vectorWidth, sums[r][c]);
    }
  }
}

/** Writes values^T * scale to y, whose rows are rowStride apart. */
template <typename T>
static inline void writeValues(const float* values, const float* scale, int64_t rows, int64_t headSize, T* y,
                               int64_t rowStride) {
  for (int64_t first = 0; first < rows; first += vectorWidth) {
    const F scales = load(scale + first);
    for (int64_t d = 0; d < headSize; d += vectorWidth) {
      const int64_t count = min(vectorWidth, headSize - d);
      F square[vectorWidth];
      for (int64_t i = 0; i < vectorWidth; ++i)
        square[i] = i < count ? load(values + (d + i) * queryTile + first) * scales : F{};
      transposeSquare(square);
      for (int64_t i = 0; i < min(vectorWidth, rows - first); ++i) {
        T* to = y + (first + i) * rowStride + d;
        if (count == vectorWidth) {
          store(to, square[i]);
        } else {
          storePart(to, square[i], count);
        }
      }
    }
  }
}

/** Two rows of non-negative weights as pairs of bfloat16. */
static inline F pairWeights(F low, F high) {
  const U bits = ((U)low + 0x8000u) >> 16 | (((U)high + 0x8000u) & 0xffff0000u);
  return (F)bits;
}

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
