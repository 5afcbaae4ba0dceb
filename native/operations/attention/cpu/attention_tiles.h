// The products of attention_tile.h with AMX, for bfloat16. Keys and transposed values are left factors, queries and
// weights right ones, in the words of pairs that attention_tile.h packs; so scores and sums have its layout too.
//
//   scores^T[key, query]: 16 keys by 16 queries, 32 of the head size at a time
//   values^T[d, query]: 16 of the head size by 16 queries, 32 keys at a time
//
// History
//   1,500 positions, 8 heads, one thread of an Intel Xeon (family 6, model 207), CPU milliseconds on a busy machine:
//   bfloat16 vectors 62, tiles 14.1; rescaling sums only where a maximum grows much, and a shorter exponential, 12.6;
//   the next scores beside the softmax 11.4. Tiles of 128 keys were as fast. Storing a tile takes 38 clocks, more than
//   two products, and reading it at once waits.
#pragma once

#include "attention_tile.h"
#include "cpu/kernels/tiles.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

#if ONEHEAD_TILES

static_assert(vectorWidth == tileRows && keyTile % 32 == 0);
constexpr int64_t tileWords = tileBytes / 4;
constexpr int64_t queryStride = queryTile * 4;  // bytes between rows of scores, queries and sums

/** Packs V of one head, [keys / 32][columns][32 keys] bfloat16; padding is zero. */
static inline void packValueTiles(const Bf16* v, int64_t rowStride, int64_t rows, int64_t headSize,
                                  const PackedSize& size, float* packed) {
  for (int64_t key = 0; key < size.keys; key += 2 * tileRows)
    for (int64_t d = 0; d < size.columns; d += vectorWidth, packed += vectorWidth * tileWords) {
      const int64_t count = min(vectorWidth, headSize - d);
      auto row = [&](int64_t k) __attribute__((always_inline)) {
        if (k >= rows) return F{};
        const Bf16* from = v + k * rowStride + d;
        return count == vectorWidth ? load(from) : loadPart(from, count);
      };
      F square[vectorWidth];
      for (int64_t i = 0; i < vectorWidth; ++i) square[i] = (F)((U)row(key + 2 * i) >> 16 | (U)row(key + 2 * i + 1));
      transposeSquare(square);
      for (int64_t i = 0; i < vectorWidth; ++i) store(packed + i * tileWords, square[i]);
    }
}

/** Calls act<c>() for c in [0, Count). */
template <int Count, typename Act>
static inline void eachTile(Act act) {
  act.template operator()<0>();
  if constexpr (Count > 1) act.template operator()<1>();
  if constexpr (Count > 2) act.template operator()<2>();
}

/** The scores of 16 keys from `key` on, [key][queryTile]. They are not masked, and not yet in memory when it returns:
 * reading them at once would wait. */
template <int Vectors, int Depth>
static inline void scoreTiles(const float* packedKeys, const float* packedQueries, const PackedSize& size, int64_t key,
                              float* scores) {
  const int64_t depth = Depth ? Depth : size.depth;
  eachTile<Vectors>([]<int c>() { zeroTile<c>(); });
  for (int64_t word = 0; word < depth; word += tileWords) {
    loadTile<3>(packedKeys + key * depth + word, depth * 4);
    eachTile<Vectors>([&]<int c>() {
      loadTile<4 + c>(packedQueries + word * queryTile + c * vectorWidth, queryStride);
      multiplyTileBfloat16<c, 3, 4 + c>();
    });
  }
  eachTile<Vectors>([&]<int c>() { storeTile<c>(scores + c * vectorWidth, queryStride); });
}

/** Masks scores of 16 keys, if any must be, and updates the maxima. */
template <int Vectors>
static inline void maskTile(int64_t key, const I* seen, bool masked, float* scores, F* maxima) {
  if (masked) {
    for (int r = 0; r < tileRows; ++r)
      for (int c = 0; c < Vectors; ++c) {
        float* score = scores + r * queryTile + c * vectorWidth;
        store(score, splatInteger(int32_t(key) + r) < seen[c] ? load(score) : splat(-infinity));
      }
  }
  ONEHEAD_UNROLL(16)
  for (int r = 0; r < tileRows; ++r)
    for (int c = 0; c < Vectors; ++c) maxima[c] = max(maxima[c], load(scores + r * queryTile + c * vectorWidth));
}

/** As valueTile. */
template <int Vectors>
static inline void valueTiles(const float* packedValues, const float* weights, const PackedSize& size, const F* old,
                              float* values) {
  F lowest = splat(1.0f);
  for (int c = 0; c < Vectors; ++c) lowest = min(old[c], lowest);  // a query's NaN must not hide another query's factor
  // Most tiles have no score above those before them.
  if (-maxLane(-lowest) < 1.0f)
    for (int64_t d = 0; d < size.columns; ++d)
      for (int c = 0; c < Vectors; ++c) {
        float* value = values + d * queryTile + c * vectorWidth;
        store(value, load(value) * old[c]);
      }
  for (int64_t d = 0; d < size.columns; d += tileRows) {
    float* to = values + d * queryTile;
    eachTile<Vectors>([&]<int c>() { loadTile<c>(to + c * vectorWidth, queryStride); });
    ONEHEAD_UNROLL(4)
    for (int64_t pair = 0; pair < keyTile / 2; pair += tileRows) {
      loadTile<3>(packedValues + (pair / tileRows * size.columns + d) * tileWords, tileBytes);
      eachTile<Vectors>([&]<int c>() {
        loadTile<4 + c>(weights + pair * queryTile + c * vectorWidth, queryStride);
        multiplyTileBfloat16<c, 3, 4 + c>();
      });
    }
    eachTile<Vectors>([&]<int c>() { storeTile<c>(to + c * vectorWidth, queryStride); });
  }
}

#endif

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
