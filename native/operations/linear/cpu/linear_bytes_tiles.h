// The products of linear_bytes.cc with AMX: rows of x in tiles of 16 rows times a panel, which is a tile of 16 columns
// for each 64 of the depth. Sums are the same integers as without tiles.
//
// Method   A block is 32 rows by two panels: four tiles of sums, two of rows and two of the weight. Rows of x are
//          prepared in tiles, so that each is 1 KiB without gaps. The rows of y that a block will write are prefetched.
//
// History
//   A tile product takes 16 clocks, eight times the rate of VNNI, and a step of a block 28 ns with its loads. An Intel
//   Xeon (family 6, model 207), one thread, CPU milliseconds, on a busy machine (least of 30 runs), with VNNI and now:
//   1,500 x 512 by 2,048 7.3 -> 2.5, with GELU 8.7 -> 3.3; 1,500 x 2,048 by 512 8.1 -> 2.7; 1,500 x 1,280 by 5,120
//   42.5 -> 14.1; 16 x 512 by 2,048 0.074 -> 0.025. Of the first 2.5, products alone are 1.2 and preparing x 0.3.
//   Blocks of 192 or 384 rows instead of 96, and panels in the inner loop, were not faster.
#pragma once

#include "cpu/kernels/tiles.h"
#include "linear_bytes_rows.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

#if ONEHEAD_TILES

/** As tiles of int8, for AMX. */
struct Tiled {
  using Word = int32_t;
  static constexpr int64_t rowUnit = tileRows;
  static constexpr int64_t wordsOf(int64_t depth) { return roundUp(groupsOf(depth), tileBytes / 4); }
};
/** Prepared rows in tiles: row r, byte k is at r / 16 * 16 * stride + k / 64 * 1024 + r % 16 * 64 + k % 64, with a
 * depth of whole tiles, padded with zeros. */
struct TileRows {
  int8_t* bytes;
  int64_t tiles;  // along the depth
};

static inline int8_t* tileOfRow(const TileRows& x, int64_t row) {
  return x.bytes + row / tileRows * x.tiles * tileRows * tileBytes + row % tileRows * tileBytes;
}

/** Writes a row of int8, `depth` of them. */
static inline void writeTileRow(const TileRows& x, int64_t row, const int8_t* bytes, int64_t depth) {
  int8_t* to = tileOfRow(x, row);
  int64_t k = 0;
  for (; k + tileBytes <= depth; k += tileBytes, to += tileRows * tileBytes) __builtin_memcpy(to, bytes + k, tileBytes);
  if (k == depth) return;
  __builtin_memset(to, 0, tileBytes);
  __builtin_memcpy(to, bytes + k, size_t(depth - k));
}

TileRows tileRowsOf(const Rows<Tiled>& x) { return {reinterpret_cast<int8_t*>(x.words), x.stride * 4 / tileBytes}; }
void prepareRow(const LinearArguments& a, const Rows<Tiled>& to, int64_t at, const float* x, int8_t* bytes) {
  to.scales[at] = quantizeRow<float>(x, a.depth, bytes);
  writeTileRow(tileRowsOf(to), at, bytes, a.depth);
}
/** Sums of up to 32 rows and two panels, which wait for their epilogue. */
struct TileSums {
  alignas(64) int32_t sums[2 * tileRows][2 * integerPanelRows];
  const float* scales;  // of the rows
  int64_t row, count, column, columns;
};

/** The epilogue of one row. */
template <typename Y>
static inline void finishTileRow(const LinearArguments& a, const TileSums& from, int64_t r) {
  const F scale = splat(from.scales[r]);
  for (int64_t c = 0; c < from.columns; c += vectorWidth) {
    I sums;
    __builtin_memcpy(&sums, &from.sums[r][c], sizeof sums);
    const F value = __builtin_convertvector(sums, F) * scale * load(a.scales + from.column + c);
    finishVector<Y>(a, value, from.row + r, from.column + c, min(vectorWidth, from.columns - c));
  }
}

/** Adds 64 of the depth to the sums of RowTiles tiles of rows and Panels panels. */
template <int RowTiles, int Panels>
static inline void multiplyTiles(const int8_t* x, int64_t rowTileBytes, const int8_t* w, int64_t panelBytes) {
  loadTile<6>(w, tileBytes);
  loadTile<4>(x, tileBytes);
  multiplyTileBytes<0, 4, 6>();
  if constexpr (Panels > 1) {
    loadTile<7>(w + panelBytes, tileBytes);
    multiplyTileBytes<1, 4, 7>();
  }
  if constexpr (RowTiles > 1) {
    loadTile<5>(x + rowTileBytes, tileBytes);
    multiplyTileBytes<2, 5, 6>();
    if constexpr (Panels > 1) multiplyTileBytes<3, 5, 7>();
  }
}

/** Products of one block of rows and panels after the other. The epilogue of a block runs between the products of the
 * next, since tiles are multiplied beside vectors. */
template <typename Y>
class TileProduct {
 public:
  TileProduct(const LinearArguments& a, const Rows<Tiled>& x) : a_(a), x_(x), tiles_(tileRowsOf(x)) {}

  void run(int64_t row, int64_t count, int64_t begin, int64_t end) {
    const TileUse use;
    for (int64_t panel = begin; panel < end; panel += 2) {
      const bool two = panel + 2 <= end;
      for (int64_t at = 0; at < count; at += 2 * tileRows) {
        const int64_t left = count - at;
        if (left > tileRows) {
          two ? block<2, 2>(at, row + at, left, panel) : block<2, 1>(at, row + at, left, panel);
        } else {
          two ? block<1, 2>(at, row + at, left, panel) : block<1, 1>(at, row + at, left, panel);
        }
      }
    }
    finish(INT64_MAX);
  }

 private:
  template <int RowTiles, int Panels>
  void block(int64_t at, int64_t row, int64_t count, int64_t panel) {
    const int64_t groups = groupsOf(a_.depth), panelBytes = groups * integerPanelRows * 4;
    const int64_t whole = groups / tileRows, rest = groups % tileRows;
    const int64_t rowTileBytes = tiles_.tiles * tileRows * tileBytes;
    const int64_t rowsPerStep = (waiting_ - done_ + tiles_.tiles - 1) / tiles_.tiles;
    const int8_t* x = tileOfRow(tiles_, at);
    const int8_t* w = static_cast<const int8_t*>(a_.w) + panel * panelBytes;
    // The rows of y, for the epilogue of this block.
    const int64_t column = panel * integerPanelRows;
    for (int64_t r = 0; r < min(count, RowTiles * tileRows); ++r) {
      const Y* y = static_cast<const Y*>(a_.y) + (row + r) * a_.columns + column;
      for (int64_t c = 0; c < Panels * integerPanelRows; c += 64 / int64_t(sizeof(Y))) __builtin_prefetch(y + c, 1);
    }
    zeroTile<0>();
    if constexpr (Panels > 1) zeroTile<1>();
    if constexpr (RowTiles > 1) zeroTile<2>();
    if constexpr (RowTiles > 1 && Panels > 1) zeroTile<3>();
    for (int64_t k = 0; k < whole; ++k) {
      multiplyTiles<RowTiles, Panels>(x + k * tileRows * tileBytes, rowTileBytes, w + k * tileRows * tileBytes,
                                      panelBytes);
      finish(rowsPerStep);
    }
    if (rest) {
      // The rest of a panel is less than a tile, and may be the end of the weight's memory.
      alignas(64) int8_t padded[Panels][tileRows * tileBytes] = {};
      for (int p = 0; p < Panels; ++p)
        __builtin_memcpy(padded[p], w + p * panelBytes + whole * tileRows * tileBytes, size_t(rest) * tileBytes);
      multiplyTiles<RowTiles, Panels>(x + whole * tileRows * tileBytes, rowTileBytes, padded[0], tileRows * tileBytes);
    }
    finish(INT64_MAX);
    TileSums& to = sums_[current_ ^= 1];
    to.scales = x_.scales + at;
    to.row = row;
    to.count = min(count, RowTiles * tileRows);
    to.column = panel * integerPanelRows;
    to.columns = min(Panels * integerPanelRows, a_.columns - to.column);
    constexpr int64_t stride = sizeof to.sums[0];
    storeTile<0>(&to.sums[0][0], stride);
    if constexpr (Panels > 1) storeTile<1>(&to.sums[0][integerPanelRows], stride);
    if constexpr (RowTiles > 1) storeTile<2>(&to.sums[tileRows][0], stride);
    if constexpr (RowTiles > 1 && Panels > 1) storeTile<3>(&to.sums[tileRows][integerPanelRows], stride);
    waiting_ = to.count;
    done_ = 0;
  }

  /** The epilogue of up to `most` rows of the block before. */
  void finish(int64_t most) {
    const int64_t end = most < waiting_ - done_ ? done_ + most : waiting_;
    for (; done_ < end; ++done_) finishTileRow<Y>(a_, sums_[current_], done_);
  }

  const LinearArguments& a_;
  const Rows<Tiled>& x_;
  const TileRows tiles_;
  TileSums sums_[2];
  int current_ = 0;
  int64_t waiting_ = 0, done_ = 0;
};

/** `count` prepared rows by panels [begin, end). */
void overPanels(const LinearArguments& a, const Rows<Tiled>& x, int64_t row, int64_t count, int64_t begin,
                int64_t end) {
  if (a.yType == DType::bfloat16) return TileProduct<Bf16>(a, x).run(row, count, begin, end);
  TileProduct<float>(a, x).run(row, count, begin, end);
}

#else

using Tiled = Quantized;

#endif

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
