// Products of whole numbers of 8 bits, exact on every instruction set: the sums are whole numbers of 32 bits.
//
// Weights lie in panels of 16 rows: for each 4 columns a line of 64 bytes, 4 of each row, so that a vector's lanes are
// outputs and no lanes are summed. A row of x is broadcast, 4 elements at a time.
#pragma once

#include "vector.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int kPanelVectors = kBytePanel / kWidth;  // of a line of a panel

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
/** vpdpbusd: unsigned by signed. Weights are shifted by 128, and sums begin with what that adds. */
struct Bytes {
  static constexpr int kWords = 1;  // of x, for 4 elements
  static constexpr bool kShifted = true;
  struct Stored {
    I line;
  };
  static inline Stored read(const void* p) {
    I line;
    __builtin_memcpy(&line, p, sizeof line);
    return {line ^ splatInteger(int32_t(0x80808080u))};
  }
  static inline I step(Stored w, const int32_t* x, I sums) {
#if defined(__AVX512VNNI__)
    return (I)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)w.line, (__m512i)splatInteger(x[0]));
#else
    return (I)_mm256_dpbusd_avx_epi32((__m256i)sums, (__m256i)w.line, (__m256i)splatInteger(x[0]));
#endif
  }
  static inline void write(int32_t* x, const int8_t* four) { __builtin_memcpy(x, four, 4); }
};
#else
/** Even and odd elements as 16 bits, multiplied in pairs. */
struct Bytes {
  static constexpr int kWords = 2;
  static constexpr bool kShifted = false;
  struct Stored {
    I even, odd;
  };
  static inline I pairs(I x, I y) {
#if defined(__AVX512BW__)
    return (I)_mm512_madd_epi16((__m512i)x, (__m512i)y);
#elif defined(__AVX2__)
    return (I)_mm256_madd_epi16((__m256i)x, (__m256i)y);
#elif defined(__SSE2__)
    return (I)_mm_madd_epi16((__m128i)x, (__m128i)y);
#else
    return (x << 16 >> 16) * (y << 16 >> 16) + (x >> 16) * (y >> 16);
#endif
  }
  static inline Stored read(const void* p) {
    typedef int16_t S __attribute__((vector_size(kWidth * 4)));
    S line;
    __builtin_memcpy(&line, p, sizeof line);
    return {(I)(S)((S)(line << 8) >> 8), (I)(S)(line >> 8)};
  }
  static inline I step(Stored w, const int32_t* x, I sums) {
    return sums + pairs(w.even, splatInteger(x[0])) + pairs(w.odd, splatInteger(x[1]));
  }
  static inline void write(int32_t* x, const int8_t* four) {
    x[0] = int32_t(uint32_t(uint16_t(int16_t(four[0]))) | uint32_t(uint16_t(int16_t(four[2]))) << 16);
    x[1] = int32_t(uint32_t(uint16_t(int16_t(four[1]))) | uint32_t(uint16_t(int16_t(four[3]))) << 16);
  }
};
#endif

/** The nearest whole numbers, ties to even. Never fused with what made x: all instruction sets give the same. */
static inline I nearest(F x) {
#if defined(__AVX512F__)
  return (I)_mm512_cvtps_epi32((__m512)x);
#elif defined(__AVX2__)
  return (I)_mm256_cvtps_epi32((__m256)x);
#elif defined(__SSE2__)
  return (I)_mm_cvtps_epi32((__m128)x);
#else
  I whole;
  for (int i = 0; i < kWidth; ++i) whole[i] = int32_t(__builtin_rintf(x[i]));
  return whole;
#endif
}

/**
 * q = x / scale, rounded, with scale = the largest magnitude / 127, which it gives. A row that is not finite has the
 * scale NaN, so that whatever is made of it is NaN too.
 */
template <typename X>
static inline float quantizeRow(const X* x, int64_t count, int8_t* q) {
  typedef int8_t B __attribute__((vector_size(kWidth)));
  F top = {}, check = {};
  auto look = [&](F value) __attribute__((always_inline)) {
    top = larger(top, larger(value, -value));
    check += value * splat(0.0f);
  };
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) look(load(x + i));
  if (i < count) look(loadPart(x + i, count - i));
  const float finite = sum(check);
  if (!(finite == 0.0f)) {
    __builtin_memset(q, 0, size_t(count));
    return finite * 0.0f;
  }
  const float scale = largest(top) / 127.0f;
  if (!(scale >= 0x1p-120f)) {  // a smaller one has no reciprocal; next to nothing is nothing
    __builtin_memset(q, 0, size_t(count));
    return 0.0f;
  }
  const F inverse = splat(1.0f / scale);
  for (i = 0; i + kWidth <= count; i += kWidth) {
    const B bytes = __builtin_convertvector(nearest(load(x + i) * inverse), B);
    __builtin_memcpy(q + i, &bytes, sizeof bytes);
  }
  if (i < count) {
    const B bytes = __builtin_convertvector(nearest(loadPart(x + i, count - i) * inverse), B);
    __builtin_memcpy(q + i, &bytes, size_t(count - i));
  }
  return scale;
}

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
