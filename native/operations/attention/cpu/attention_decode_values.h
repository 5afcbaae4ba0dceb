// Weighted sums of values in decode attention: how each storage type is read and accumulated, for
// attention_decode_block.h.
//
// Values<T>::positionsTogether positions are read at once, stepSize elements of each. The sums are in the order that is
// cheapest to compute: element i is at sumIndex(i).
#pragma once

#include "cpu/kernels/bytes.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

/** One position, widened to float32. */
template <typename T>
struct Values {
  static constexpr int vectorCount = 1, stepSize = vectorWidth, positionsPerStep = 1;
  using Sum = F;
  struct Stored {
    F vectors[1];
  };
  static Stored read(const T* const* from, int64_t d) { return {{load(from[0] + d)}}; }
  static Stored readPart(const T* const* from, int64_t d, int64_t count) { return {{loadPart(from[0] + d, count)}}; }
  /** `weights` are a row's weights of a block; p is the first of the positions. */
  static void add(const Stored& values, const float* weights, int64_t p, F* sums) {
    sums[0] = fused(splat(weights[p]), values.vectors[0], sums[0]);
  }
  static int64_t sumIndex(int64_t i) { return i; }
};

/** The even elements, then the odd ones: a shift and a mask widen them. */
template <>
struct Values<Bf16> {
  static constexpr int vectorCount = 2, stepSize = 2 * vectorWidth, positionsPerStep = 1;
  using Sum = F;
  struct Stored {
    F vectors[2];
  };
  static Stored split(U words) { return {{(F)(words << 16), (F)(words & 0xffff0000u)}}; }
  static Stored read(const Bf16* const* from, int64_t d) { return split(*(const UnalignedU*)(from[0] + d)); }
  static Stored readPart(const Bf16* const* from, int64_t d, int64_t count) {
    return split(loadWordsPart(from[0] + d, count));
  }
  static void add(const Stored& values, const float* weights, int64_t p, F* sums) {
    const F weight = splat(weights[p]);
    for (int c = 0; c < 2; ++c) sums[c] = fused(weight, values.vectors[c], sums[c]);
  }
  static int64_t sumIndex(int64_t i) { return i / stepSize * stepSize + i % 2 * vectorWidth + i % stepSize / 2; }
};

/** Interleaves the 16-bit elements of x and y, within each 128 bits: the lower halves, then the upper ones. */
static inline void interleave(I x, I y, I* both) {
#if defined(__AVX512BW__)
  both[0] = (I)_mm512_unpacklo_epi16((__m512i)x, (__m512i)y);
  both[1] = (I)_mm512_unpackhi_epi16((__m512i)x, (__m512i)y);
#elif defined(__AVX2__)
  both[0] = (I)_mm256_unpacklo_epi16((__m256i)x, (__m256i)y);
  both[1] = (I)_mm256_unpackhi_epi16((__m256i)x, (__m256i)y);
#else
  static_assert(vectorWidth == 4);
  typedef int16_t S __attribute__((vector_size(16)));
  both[0] = (I)__builtin_shufflevector((S)x, (S)y, 0, 8, 1, 9, 2, 10, 3, 11);
  both[1] = (I)__builtin_shufflevector((S)x, (S)y, 4, 12, 5, 13, 6, 14, 7, 15);
#endif
}

/** Four positions, as pairs of 16-bit integers. A row's weights are 16-bit integers too. */
template <>
struct Values<Int8> {
  static constexpr int vectorCount = 2, stepSize = 2 * vectorWidth, positionsPerStep = 4;
  using Sum = I;
  struct Stored {
    I pairs[2][2];  // [two positions][lower or upper halves of each 128 bits]
  };
  static Stored read(const Int8* const* from, int64_t d) {
    Stored values;
    for (int i = 0; i < 2; ++i)
      interleave(widenBytes(from[2 * i] + d), widenBytes(from[2 * i + 1] + d), values.pairs[i]);
    return values;
  }
  static Stored readPart(const Int8* const* from, int64_t d, int64_t count) {
    Stored values;
    for (int i = 0; i < 2; ++i)
      interleave(widenBytesPart(from[2 * i] + d, count), widenBytesPart(from[2 * i + 1] + d, count), values.pairs[i]);
    return values;
  }
  static void add(const Stored& values, const float* weights, int64_t p, I* sums) {
    for (int i = 0; i < 2; ++i) {
      int32_t two;
      __builtin_memcpy(&two, reinterpret_cast<const char*>(weights) + 2 * p + 4 * i, sizeof two);
      for (int c = 0; c < 2; ++c) sums[c] = addPairs(sums[c], values.pairs[i][c], splatInteger(two));
    }
  }
  static int64_t sumIndex(int64_t i) {
    const int64_t in = i % stepSize;
    return i - in + in % 8 / 4 * vectorWidth + in / 8 * 4 + in % 4;
  }
};

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
