// Matrix products of tiles, with AMX. A tile has 16 rows of 64 bytes, and a thread has eight of them, 0 to 7.
//
// A product adds left * right to sums: `left` is 16 rows of 64 int8 or 32 bfloat16, `right` the same 64 or 32 rows of
// 16 columns, of which each row of the tile holds four or two: [row / 4][column][row % 4], or with bfloat16
// [row / 2][column][row % 2]. `sums` are [16][16] int32 or float32.
//
// With ONEHEAD_EMULATE_TILES, plain code computes the same, for tests on CPUs without AMX. It rounds sums of bfloat16
// products in another order.
#pragma once

#include "vector.h"

#if defined(__AMX_INT8__) && defined(__AMX_BF16__)
#define ONEHEAD_TILES 1
#elif defined(ONEHEAD_EMULATE_TILES)
#define ONEHEAD_TILES 1
#else
#define ONEHEAD_TILES 0
#endif

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr bool multipliesTiles = ONEHEAD_TILES;
constexpr int tileRows = 16, tileBytes = 64;

#if ONEHEAD_TILES && defined(ONEHEAD_EMULATE_TILES)

struct EmulatedTile {
  alignas(64) unsigned char rows[tileRows][tileBytes];
};
// Not initialized, as the CPU's tiles are not until a thread configures them.
static thread_local EmulatedTile emulatedTiles[8];

/** A thread's use of tiles: none may be used before its constructor or after its destructor. */
struct TileUse {
  TileUse() { __builtin_memset(emulatedTiles, 0xff, sizeof emulatedTiles); }
  ~TileUse() { __builtin_memset(emulatedTiles, 0xff, sizeof emulatedTiles); }
};

template <int tile>
static inline void zeroTile() {
  __builtin_memset(&emulatedTiles[tile], 0, sizeof(EmulatedTile));
}
/** Rows are `stride` bytes apart. */
template <int tile>
static inline void loadTile(const void* p, int64_t stride) {
  for (int i = 0; i < tileRows; ++i)
    __builtin_memcpy(emulatedTiles[tile].rows[i], static_cast<const char*>(p) + i * stride, tileBytes);
}
template <int tile>
static inline void storeTile(void* p, int64_t stride) {
  for (int i = 0; i < tileRows; ++i)
    __builtin_memcpy(static_cast<char*>(p) + i * stride, emulatedTiles[tile].rows[i], tileBytes);
}
template <typename Sum, typename Element, typename Multiply>
static inline void multiplyEmulated(EmulatedTile& sums, const EmulatedTile& left, const EmulatedTile& right,
                                    Multiply multiply) {
  constexpr int group = 4 / sizeof(Element);
  for (int row = 0; row < tileRows; ++row) {
    Sum to[16];
    __builtin_memcpy(to, sums.rows[row], sizeof to);
    for (int k = 0; k < 16; ++k)
      for (int column = 0; column < 16; ++column) {
        Element x[group], w[group];
        __builtin_memcpy(x, left.rows[row] + 4 * k, sizeof x);
        __builtin_memcpy(w, right.rows[k] + 4 * column, sizeof w);
        for (int i = 0; i < group; ++i) to[column] += multiply(x[i], w[i]);
      }
    __builtin_memcpy(sums.rows[row], to, sizeof to);
  }
}
template <int sums, int left, int right>
static inline void multiplyTileBytes() {
  multiplyEmulated<int32_t, int8_t>(emulatedTiles[sums], emulatedTiles[left], emulatedTiles[right],
                                    [](int8_t x, int8_t w) { return int32_t(x) * w; });
}
template <int sums, int left, int right>
static inline void multiplyTileBfloat16() {
  multiplyEmulated<float, Bf16>(emulatedTiles[sums], emulatedTiles[left], emulatedTiles[right],
                                [](Bf16 x, Bf16 w) { return get(&x) * get(&w); });
}

#elif ONEHEAD_TILES

/** A thread's use of tiles: none may be used before its constructor or after its destructor, which makes switches to
 * other threads cheap again. */
struct TileUse {
  TileUse() {
    struct alignas(64) {
      uint8_t palette = 1, startRow = 0, reserved[14] = {};
      uint16_t bytes[16] = {};
      uint8_t rows[16] = {};
    } configuration;
    for (int i = 0; i < 8; ++i) {
      configuration.bytes[i] = tileBytes;
      configuration.rows[i] = tileRows;
    }
    static_assert(sizeof configuration == 64);
    __asm__ volatile("ldtilecfg %0" ::"m"(configuration));
  }
  ~TileUse() { __asm__ volatile("tilerelease"); }
};

// Assembler, since GCC's intrinsics do not take template parameters. Compilers never use tiles by themselves, and keep
// the order of volatile instructions.
template <int tile>
static inline void zeroTile() {
  __asm__ volatile("tilezero %%tmm%c0" ::"i"(tile));
}
/** Rows are `stride` bytes apart. */
template <int tile>
static inline void loadTile(const void* p, int64_t stride) {
  __asm__ volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(tile), "r"(p), "r"(stride) : "memory");
}
template <int tile>
static inline void storeTile(void* p, int64_t stride) {
  __asm__ volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(tile), "r"(p), "r"(stride) : "memory");
}
template <int sums, int left, int right>
static inline void multiplyTileBytes() {
  __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sums), "i"(left), "i"(right));
}
template <int sums, int left, int right>
static inline void multiplyTileBfloat16() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sums), "i"(left), "i"(right));
}

#endif

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
