// The matrix products of attention over many queries, shared by the streaming algorithm and the baseline.
//
// Both products are computed transposed, with the vectors along the queries:
//   scores^T[key, query]   = sum over d   of K[key, d] q^T[d, query]
//   values^T[d, query]     = sum over key of V[key, d] weights^T[key, query]
// so one element of K or V is broadcast against a row of kQueryTile queries, softmax needs no horizontal step, and one
// micro-kernel does both: kBlock broadcasts against up to kVectors vectors, all sums in registers.
//
// Elements are words of 32 bits: a float32, or with Pairs two bfloat16 that are neighbours along the sum (d for the
// scores, keys for the values), as vdpbf16ps wants them. Without it bfloat16 is widened when it is packed.
#pragma once

#include "attention_common.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int kVectors = 3;
constexpr int kBlock = kWidth == 16 ? 8 : 4;
constexpr int kQueryTile = kVectors * kWidth;
constexpr int kKeyTile = 64;

/** sums[r][c] += sum over k of broadcast[k * stride + r] * vectors[k * kQueryTile + c]. */
template <bool Pairs, int Vectors>
static inline void tileProduct(const float* broadcast, int64_t stride, const float* vectors, int64_t count,
                               F (&sums)[kBlock][Vectors]) {
  for (int64_t k = 0; k < count; ++k) {
    F right[Vectors];
    ONEHEAD_UNROLL(3)
    for (int c = 0; c < Vectors; ++c) right[c] = load(vectors + c * kWidth);
    ONEHEAD_UNROLL(8)
    for (int r = 0; r < kBlock; ++r) {
      const F left = splat(broadcast[r]);
      ONEHEAD_UNROLL(3)
      for (int c = 0; c < Vectors; ++c) sums[r][c] = multiplyAdd<Pairs>(left, right[c], sums[r][c]);
    }
    broadcast += stride;
    vectors += kQueryTile;
  }
}

/** Sizes of one packed head, in words. */
struct PackedSize {
  int64_t depth;    // steps of the scores' sum
  int64_t columns;  // headSize in whole blocks
  int64_t keys;     // in whole tiles

  PackedSize(int64_t headSize, int64_t keyCount, bool pairs) {
    depth = pairs ? (headSize + 1) / 2 : headSize;
    columns = roundUp(headSize, kBlock);
    keys = roundUp(keyCount, kKeyTile);
  }
  int64_t keyWords() const { return keys * depth; }
  int64_t valueWords(bool pairs) const { return (pairs ? keys / 2 : keys) * columns; }
};

/** Two bfloat16 as one word. */
static inline float pairOf(Bf16 low, Bf16 high) { return asFloat(uint32_t(low.bits) | uint32_t(high.bits) << 16); }
static inline float pairOf(float, float) { return 0; }  // never called: float32 has no pairs

/** K of one head, `rows` keys, as [key block][step][kBlock]; missing keys are zero. */
template <typename T, bool Pairs>
static inline void packKeys(const T* k, int64_t rowStride, int64_t rows, int64_t headSize, const PackedSize& size,
                            float* packed) {
  for (int64_t first = 0; first < size.keys; first += kBlock) {
    for (int r = 0; r < kBlock; ++r) {
      float* to = packed + first * size.depth + r;
      const T* from = k + (first + r) * rowStride;
      const bool there = first + r < rows;
      for (int64_t s = 0; s < size.depth; ++s, to += kBlock) {
        if (!there) {
          *to = 0;
        } else if constexpr (Pairs) {
          *to = pairOf(from[2 * s], 2 * s + 1 < headSize ? from[2 * s + 1] : T{});
        } else {
          *to = get(from + s);
        }
      }
    }
  }
}

/** V of one head as [key or pair of keys][columns]; missing elements are zero. */
template <typename T, bool Pairs>
static inline void packValues(const T* v, int64_t rowStride, int64_t rows, int64_t headSize, const PackedSize& size,
                              float* packed) {
  constexpr int kKeys = Pairs ? 2 : 1;
  for (int64_t key = 0; key < size.keys; key += kKeys, packed += size.columns) {
    const T* from = v + key * rowStride;
    for (int64_t d = 0; d < size.columns; ++d) {
      if (d >= headSize || key >= rows) {
        packed[d] = 0;
      } else if constexpr (Pairs) {
        packed[d] = pairOf(from[d], key + 1 < rows ? from[rowStride + d] : T{});
      } else {
        packed[d] = get(from + d);
      }
    }
  }
}

/** One tile of queries of one head as [step][kQueryTile]; missing queries are zero. */
template <typename T, bool Pairs>
static inline void packQueries(const T* q, int64_t rowStride, int64_t rows, int64_t headSize, const PackedSize& size,
                               float* packed) {
  for (int64_t i = 0; i < kQueryTile; ++i) {
    const T* from = q + i * rowStride;
    for (int64_t s = 0; s < size.depth; ++s) {
      float* to = packed + s * kQueryTile + i;
      if (i >= rows) {
        *to = 0;
      } else if constexpr (Pairs) {
        *to = pairOf(from[2 * s], 2 * s + 1 < headSize ? from[2 * s + 1] : T{});
      } else {
        *to = get(from + s);
      }
    }
  }
}

/** Scores of a tile of kKeyTile keys from `key` on, [key][kQueryTile]; those that a query does not see are -infinity.
 */
template <bool Pairs, int Vectors>
static inline void scoreTile(const float* packedKeys, const float* packedQueries, const PackedSize& size, int64_t key,
                             const I* seen, bool masked, float* scores, F* maxima) {
  for (int64_t block = 0; block < kKeyTile; block += kBlock) {
    F sums[kBlock][Vectors] = {};
    tileProduct<Pairs, Vectors>(packedKeys + (key + block) * size.depth, kBlock, packedQueries, size.depth, sums);
    ONEHEAD_UNROLL(8)
    for (int r = 0; r < kBlock; ++r) {
      ONEHEAD_UNROLL(3)
      for (int c = 0; c < Vectors; ++c) {
        if (masked) sums[r][c] = splatInteger(int32_t(key + block) + r) < seen[c] ? sums[r][c] : splat(-kInfinity);
        store(scores + (block + r) * kQueryTile + c * kWidth, sums[r][c]);
        maxima[c] = larger(maxima[c], sums[r][c]);
      }
    }
  }
}

/** values^T[d, query] = values^T * old + packed values x weights of one tile of keys. */
template <bool Pairs, int Vectors>
static inline void valueTile(const float* packedValues, const float* weights, const PackedSize& size, const F* old,
                             float* values) {
  constexpr int64_t kSteps = Pairs ? kKeyTile / 2 : kKeyTile;
  for (int64_t d = 0; d < size.columns; d += kBlock) {
    F sums[kBlock][Vectors];
    float* to = values + d * kQueryTile;
    ONEHEAD_UNROLL(8)
    for (int r = 0; r < kBlock; ++r) {
      ONEHEAD_UNROLL(3)
      for (int c = 0; c < Vectors; ++c) sums[r][c] = load(to + r * kQueryTile + c * kWidth) * old[c];
    }
    tileProduct<Pairs, Vectors>(packedValues + d, size.columns, weights, kSteps, sums);
    ONEHEAD_UNROLL(8)
    for (int r = 0; r < kBlock; ++r) {
      ONEHEAD_UNROLL(3)
      for (int c = 0; c < Vectors; ++c) store(to + r * kQueryTile + c * kWidth, sums[r][c]);
    }
  }
}

/** Writes values^T * scale to y [query, heads, headSize]. */
template <typename T>
static inline void writeValues(const float* values, const float* scale, int64_t rows, int64_t headSize, T* y,
                               int64_t rowStride) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t d = 0; d < headSize; ++d) put(y + i * rowStride + d, values[d * kQueryTile + i] * scale[i]);
}

/** Two rows of non-negative weights as pairs of bfloat16. */
static inline F pairWeights(F low, F high) {
  const U bits = ((U)low + 0x8000u) >> 16 | (((U)high + 0x8000u) & 0xffff0000u);
  return (F)bits;
}

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
