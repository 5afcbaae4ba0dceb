// Rows of x as the products with int8 weights take them.
#pragma once

#include "panels.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

/** Groups of four elements, as a panel has them. */
constexpr int64_t groupsOf(int64_t depth) { return (depth + 3) / 4; }

/** How rows of x are prepared: as words of int8. */
struct Quantized {
  using Word = int32_t;
  static constexpr int64_t rowUnit = 1;
  static constexpr int64_t wordsOf(int64_t depth) { return groupsOf(depth) * Bytes::wordsPerGroup; }
};
/** As float32. */
struct Widened {
  using Word = float;
  static constexpr int64_t rowUnit = 1;
  static constexpr int64_t wordsOf(int64_t depth) { return groupsOf(depth) * 4; }
};

/** Prepared rows: `words` of each, with int8 its scale, and for Quantized the sum of its int8 elements. */
template <typename Kind>
struct Rows {
  typename Kind::Word* words;
  float* scales;
  int32_t* sums;
  int64_t stride;
};

/** Prepared rows in a buffer, in units of 64 bytes. */
template <typename Kind>
Rows<Kind> rowsIn(void* buffer, int64_t rows, int64_t depth) {
  rows = roundUp(rows, Kind::rowUnit);
  Rows<Kind> result;
  result.stride = roundUp(Kind::wordsOf(depth), 16);
  result.words = static_cast<typename Kind::Word*>(buffer);
  result.scales = reinterpret_cast<float*>(result.words + rows * result.stride);
  result.sums = reinterpret_cast<int32_t*>(result.scales + roundUp(rows, 16));
  return result;
}
template <typename Kind>
static inline int64_t rowWords(int64_t rows, int64_t depth) {
  rows = roundUp(rows, Kind::rowUnit);
  return rows * roundUp(Kind::wordsOf(depth), 16) + 2 * roundUp(rows, 16);
}
}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
