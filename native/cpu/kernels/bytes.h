// int8 products, exact on every instruction set: sums are 32-bit integers.
//
// Weights are in panels of 16 rows, 4 columns per 64-byte line ([row][4]). So the lanes of a vector are outputs, and no
// sum over lanes is needed. A row of x is broadcast, 4 elements at a time.
#pragma once

#include "dot.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int panelVectors = integerPanelRows / vectorWidth;  // vectors per line of a panel

/** sums + products of the lower and of the upper 16 bits of each lane. */
static inline I addPairs(I sums, I x, I y) {
#if defined(__AVX512VNNI__)
  return (I)_mm512_dpwssd_epi32((__m512i)sums, (__m512i)x, (__m512i)y);
#elif defined(__AVX512BW__)
  return sums + (I)_mm512_madd_epi16((__m512i)x, (__m512i)y);
#elif defined(__AVXVNNI__)
  return (I)_mm256_dpwssd_avx_epi32((__m256i)sums, (__m256i)x, (__m256i)y);
#elif defined(__AVX2__)
  return sums + (I)_mm256_madd_epi16((__m256i)x, (__m256i)y);
#elif defined(__SSE2__)
  return sums + (I)_mm_madd_epi16((__m128i)x, (__m128i)y);
#else
  return sums + (x << 16 >> 16) * (y << 16 >> 16) + (x >> 16) * (y >> 16);
#endif
}

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
/** vpdpbusd multiplies unsigned by signed. Weights are offset by 128, and sums start with what that adds. */
struct Bytes {
  static constexpr int wordsPerGroup = 1;  // words of x per 4 elements
  static constexpr bool shifted = true;
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
/** Even and odd elements widened to 16 bits and multiplied in pairs. */
struct Bytes {
  static constexpr int wordsPerGroup = 2;
  static constexpr bool shifted = false;
  struct Stored {
    I even, odd;
  };
  static inline Stored read(const void* p) {
    typedef int16_t S __attribute__((vector_size(vectorWidth * 4)));
    S line;
    __builtin_memcpy(&line, p, sizeof line);
    return {(I)(S)((S)(line << 8) >> 8), (I)(S)(line >> 8)};
  }
  static inline I step(Stored w, const int32_t* x, I sums) {
    return addPairs(addPairs(sums, w.even, splatInteger(x[0])), w.odd, splatInteger(x[1]));
  }
  static inline void write(int32_t* x, const int8_t* four) {
    x[0] = int32_t(uint32_t(uint16_t(int16_t(four[0]))) | uint32_t(uint16_t(int16_t(four[2]))) << 16);
    x[1] = int32_t(uint32_t(uint16_t(int16_t(four[1]))) | uint32_t(uint16_t(int16_t(four[3]))) << 16);
  }
};
#endif

/** Rounds to the nearest integer, ties to even. Never fused with the computation of x, so all instruction sets agree.
 */
static inline I nearest(F x) {
#if defined(__AVX512F__)
  return (I)_mm512_cvtps_epi32((__m512)x);
#elif defined(__AVX2__)
  return (I)_mm256_cvtps_epi32((__m256)x);
#elif defined(__SSE2__)
  return (I)_mm_cvtps_epi32((__m128)x);
#else
  I rounded;
  for (int i = 0; i < vectorWidth; ++i) rounded[i] = int32_t(__builtin_rintf(x[i]));
  return rounded;
#endif
}

/**
 * q = x / scale, rounded, with scale = top / largest(top), which is returned; top is the largest magnitude. If the row
 * is not finite, the scale is NaN, so that everything computed from it is NaN too. q may alias x.
 */
template <typename X, typename Q, typename Largest>
static inline float quantizeRowTo(const X* x, int64_t count, Q* q, Largest largest) {
  typedef Q B __attribute__((vector_size(vectorWidth * sizeof(Q))));
  F top = {}, check = {};
  auto look = [&](F value) __attribute__((always_inline)) {
    top = max(top, max(value, -value));
    check += value * splat(0.0f);
  };
  int64_t i = 0;
  for (; i + vectorWidth <= count; i += vectorWidth) look(load(x + i));
  if (i < count) look(loadPart(x + i, count - i));
  const float finite = sum(check);
  if (!(finite == 0.0f)) {
    __builtin_memset(q, 0, size_t(count) * sizeof(Q));
    return finite * 0.0f;
  }
  const float highest = maxLane(top), scale = highest / largest(highest);
  if (!(scale >= 0x1p-120f)) {  // a smaller scale has no finite reciprocal: the row counts as zero
    __builtin_memset(q, 0, size_t(count) * sizeof(Q));
    return 0.0f;
  }
  const F inverse = splat(1.0f / scale);
  for (i = 0; i + vectorWidth <= count; i += vectorWidth) {
    const B bytes = __builtin_convertvector(nearest(load(x + i) * inverse), B);
    __builtin_memcpy(q + i, &bytes, sizeof bytes);
  }
  if (i < count) {
    const B bytes = __builtin_convertvector(nearest(loadPart(x + i, count - i) * inverse), B);
    __builtin_memcpy(q + i, &bytes, size_t(count - i) * sizeof(Q));
  }
  return scale;
}
/** With scale = largest magnitude / `maxInteger`. */
template <typename X, typename Q>
static inline float quantizeRow(const X* x, int64_t count, Q* q, float maxInteger = 127.0f) {
  return quantizeRowTo(x, count, q, [=](float) { return maxInteger; });
}

/** 2 vectorWidth int8, widened to 16 bits in order. */
static inline I widenBytes(const Int8* p) {
#if defined(__AVX512BW__)
  return (I)_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i*)p));
#elif defined(__AVX2__)
  return (I)_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)p));
#else
  typedef int8_t B __attribute__((vector_size(2 * vectorWidth)));
  typedef int16_t S __attribute__((vector_size(4 * vectorWidth)));
  B bytes;
  __builtin_memcpy(&bytes, p, sizeof bytes);
  return (I) __builtin_convertvector(bytes, S);
#endif
}
/** The first `count` of them; the others are zero. */
static inline I widenBytesPart(const Int8* p, int64_t count) {
  Int8 bytes[2 * vectorWidth] = {};
  for (int64_t i = 0; i < count; ++i) bytes[i] = p[i];
  return widenBytes(bytes);
}

/** Heads of an int8 cache without their scales, multiplied as 16-bit integers: half the instructions of widening to
 * float32. */
template <>
struct Dot<Int8> {
  static constexpr int stepSize = 2 * vectorWidth;
  using Prepared = int16_t;
  using Sum = I;
  struct Stored {
    I pairs;
  };
  static inline Stored read(const Int8* w) { return {widenBytes(w)}; }
  static inline Stored readPart(const Int8* w, int64_t count) { return {widenBytesPart(w, count)}; }
  static inline I step(Stored w, const int16_t* x, I sums) {
    I pairs;
    __builtin_memcpy(&pairs, x, sizeof pairs);
    return addPairs(sums, w.pairs, pairs);
  }
  /** Writes x, padded with zeros to whole steps, and returns its scale. Sums of `count` products do not overflow. */
  template <typename X>
  static inline float prepare(int16_t* prepared, const X* x, int64_t count) {
    for (int64_t i = count; i < roundUp(count, stepSize); ++i) prepared[i] = 0;
    return quantizeRow<X>(x, count, prepared, count <= 512 ? 32767.0f : 16383.0f);
  }
};

static inline F toFloat(F value) { return value; }
static inline F toFloat(I value) { return __builtin_convertvector(value, F); }

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
