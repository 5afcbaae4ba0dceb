// One vector type for every instruction set: 16 floats with AVX-512, 8 with AVX2, otherwise 4 (SSE2, NEON, or whatever
// the compiler generates). Arithmetic uses the compiler's vector operators; this file adds what they lack.
//
// Everything is in a namespace named after the instruction set and has internal linkage, since the linker keeps one
// copy of an inline function: an AVX-512 copy must never be used by the portable kernels. For the same reason these
// files use no templates or inline functions of the standard library.
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "../kernels.h"

#ifndef ONEHEAD_ISA
#error "compile with -DONEHEAD_ISA=<name of the instruction set>"
#endif

#if defined(__clang__)
#define ONEHEAD_UNROLL(n) _Pragma("unroll")
#else
#define ONEHEAD_PRAGMA(text) _Pragma(#text)
#define ONEHEAD_UNROLL(n) ONEHEAD_PRAGMA(GCC unroll n)
#endif

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int vectorWidth = 16;
#elif defined(__AVX2__)
constexpr int vectorWidth = 8;
#else
constexpr int vectorWidth = 4;
#endif
#if defined(__AVX512BF16__)
constexpr bool pairsBfloat16 = true;  // vdpbf16ps multiplies bfloat16 in pairs
#else
constexpr bool pairsBfloat16 = false;
#endif

// Integers of 16 bits are multiplied in pairs too, and more exactly. (SSE2 and NEON have them too, but kernels for
// these are slower than oneDNN's products.)
#if defined(__AVX2__)
constexpr bool multipliesInt16 = true;
#else
constexpr bool multipliesInt16 = false;
#endif

typedef float F __attribute__((vector_size(vectorWidth * 4)));
typedef int32_t I __attribute__((vector_size(vectorWidth * 4)));
typedef uint32_t U __attribute__((vector_size(vectorWidth * 4)));
typedef uint16_t H __attribute__((vector_size(vectorWidth * 2)));
typedef float UnalignedF __attribute__((vector_size(vectorWidth * 4), aligned(4), may_alias));
typedef uint32_t UnalignedU __attribute__((vector_size(vectorWidth * 4), aligned(2), may_alias));
typedef uint16_t UnalignedH __attribute__((vector_size(vectorWidth * 2), aligned(2), may_alias));
typedef uint32_t AliasedWord __attribute__((aligned(2), may_alias));

/** bfloat16 in memory: the upper half of a float32. */
struct Bf16 {
  uint16_t bits;
};

/** int8 in memory, of a cache whose scales are elsewhere. */
struct Int8 {
  int8_t value;
};

constexpr float infinity = __builtin_inff();

static inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }
static constexpr int64_t roundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

static inline float asFloat(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}
static inline uint32_t asBits(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  return bits;
}

/** float32 to bfloat16, nearest even; NaN stays NaN. */
static inline uint16_t roundToBf16(float value) {
  const uint32_t bits = asBits(value);
  if (value != value) return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
static inline float get(const float* p) { return *p; }
static inline float get(const Bf16* p) { return asFloat(uint32_t(p->bits) << 16); }
static inline void put(float* p, float value) { *p = value; }
static inline void put(Bf16* p, float value) { p->bits = roundToBf16(value); }

static inline F splat(float value) {
#if defined(__AVX512F__)
  return (F)_mm512_set1_ps(value);
#elif defined(__AVX2__)
  return (F)_mm256_set1_ps(value);
#else
  return F{value, value, value, value};
#endif
}
static inline I splatInteger(int32_t value) {
#if defined(__AVX512F__)
  return (I)_mm512_set1_epi32(value);
#elif defined(__AVX2__)
  return (I)_mm256_set1_epi32(value);
#else
  return I{value, value, value, value};
#endif
}

static inline F load(const float* p) { return *(const UnalignedF*)p; }
static inline F load(const Bf16* p) { return (F)(__builtin_convertvector(*(const UnalignedH*)p, U) << 16); }

static inline F load(const Int8* p) {
#if defined(__AVX512F__)
  return (F)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p)));
#elif defined(__AVX2__)
  return (F)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p)));
#else
  F value;
  for (int i = 0; i < vectorWidth; ++i) value[i] = float(p[i].value);
  return value;
#endif
}

/** Rounds to nearest even and keeps NaN. */
static inline H toBf16(F value) {
#if defined(__AVX512BF16__)
  return (H)_mm512_cvtneps_pbh((__m512)value);
#else
  const U bits = (U)value;
  const U rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  const U quiet = bits >> 16 | 0x40;
  return __builtin_convertvector(value == value ? rounded : quiet, H);
#endif
}
static inline void store(float* p, F value) { *(UnalignedF*)p = value; }
static inline void store(Bf16* p, F value) { *(UnalignedH*)p = toBf16(value); }

/** The first `count` (0 ... vectorWidth) elements; the others are zero. */
static inline F loadPart(const float* p, int64_t count) {
#if defined(__AVX512F__)
  return (F)_mm512_maskz_loadu_ps(__mmask16((1u << count) - 1), p);
#else
  F value = {};
  for (int i = 0; i < count; ++i) value[i] = p[i];
  return value;
#endif
}
static inline F loadPart(const Bf16* p, int64_t count) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  const __m256i halves = _mm256_maskz_loadu_epi16(__mmask16((1u << count) - 1), p);
  return (F)_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
#else
  F value = {};
  for (int i = 0; i < count; ++i) value[i] = get(p + i);
  return value;
#endif
}
static inline F loadPart(const Int8* p, int64_t count) {
  F value = {};
  for (int i = 0; i < count; ++i) value[i] = float(p[i].value);
  return value;
}
/** 2 vectorWidth bfloat16 as words; the first `count` are read, the others are zero. */
static inline U loadWordsPart(const Bf16* p, int64_t count) {
#if defined(__AVX512BW__)
  return (U)_mm512_maskz_loadu_epi16(__mmask32((uint64_t(1) << count) - 1), p);
#else
  uint16_t halves[2 * vectorWidth] = {};
  for (int i = 0; i < count; ++i) halves[i] = p[i].bits;
  U words;
  __builtin_memcpy(&words, halves, sizeof words);
  return words;
#endif
}
template <typename T>
static inline void storePart(T* p, F value, int64_t count) {
  T all[vectorWidth];
  store(all, value);
  for (int i = 0; i < count; ++i) p[i] = all[i];
}

/** The maximum; NaN if b is NaN. */
static inline F max(F a, F b) {
#if defined(__AVX512F__)
  return (F)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (F)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return a > b ? a : b;
#endif
}
static inline F min(F a, F b) {
#if defined(__AVX512F__)
  return (F)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (F)_mm256_min_ps((__m256)a, (__m256)b);
#else
  return a < b ? a : b;
#endif
}

/** Adds pairs of lanes of two vectors: groups of `half` lanes of x, then of y, alternate. Repeated, it sums the lanes
 * of a square of vectors. */
#define ONEHEAD_LANE(l, h) \
  ((l) / (2 * (h)) * 2 * (h) + (l) % (2 * (h)) + ((l) % (2 * (h)) < (h) ? 0 : vectorWidth - (h)))
#define ONEHEAD_LANES4(l, h, o) \
  ONEHEAD_LANE(l, h) + o, ONEHEAD_LANE(l + 1, h) + o, ONEHEAD_LANE(l + 2, h) + o, ONEHEAD_LANE(l + 3, h) + o
#if defined(__AVX512F__)
#define ONEHEAD_LANES(h, o) \
  ONEHEAD_LANES4(0, h, o), ONEHEAD_LANES4(4, h, o), ONEHEAD_LANES4(8, h, o), ONEHEAD_LANES4(12, h, o)
#elif defined(__AVX2__)
#define ONEHEAD_LANES(h, o) ONEHEAD_LANES4(0, h, o), ONEHEAD_LANES4(4, h, o)
#else
#define ONEHEAD_LANES(h, o) ONEHEAD_LANES4(0, h, o)
#endif
template <int half>
static inline F foldLanes(F x, F y) {
  return __builtin_shufflevector(x, y, ONEHEAD_LANES(half, 0)) +
         __builtin_shufflevector(x, y, ONEHEAD_LANES(half, half));
}

template <int half, int count>
static inline F foldAll(const F* rows) {
  if constexpr (count == 1) {
    return rows[0];
  } else {
    F folded[count / 2];
    ONEHEAD_UNROLL(16)
    for (int i = 0; i < count / 2; ++i) folded[i] = foldLanes<half>(rows[i], rows[i + count / 2]);
    return foldAll<half / 2, count / 2>(folded);
  }
}
/** Lane i is the sum of the lanes of rows[i]; rows has vectorWidth vectors. */
static inline F sumRows(const F* rows) { return foldAll<vectorWidth / 2, vectorWidth>(rows); }

/** Transposes a square of vectorWidth vectors. */
template <int half = vectorWidth / 2>
static inline void transposeSquare(F* rows) {
  ONEHEAD_UNROLL(16)
  for (int i = 0; i < vectorWidth; ++i) {
    if ((i & half) != 0) continue;
    const F x = rows[i], y = rows[i + half];
    rows[i] = __builtin_shufflevector(x, y, ONEHEAD_LANES(half, 0));
    rows[i + half] = __builtin_shufflevector(x, y, ONEHEAD_LANES(half, half));
  }
  if constexpr (half > 1) transposeSquare<half / 2>(rows);
}

static inline float sum(F value) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps((__m512)value);
#else
  float total = 0;
  for (int half = vectorWidth / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) value[i] += value[i + half];
  total = value[0];
  return total;
#endif
}
/** The largest lane; NaN counts as the smallest. */
static inline float maxLane(F value) {
  float best = -infinity;
#if defined(__AVX512F__)
  best = _mm512_reduce_max_ps((__m512)(value == value ? value : splat(-infinity)));
#else
  for (int i = 0; i < vectorWidth; ++i) best = value[i] > best ? value[i] : best;
#endif
  return best;
}

/** sums + x * y, or with Pairs two bfloat16 products in each lane. */
template <bool Pairs>
static inline F multiplyAdd(F x, F y, F sums) {
#if defined(__AVX512BF16__)
  if constexpr (Pairs) return (F)_mm512_dpbf16_ps((__m512)sums, (__m512bh)x, (__m512bh)y);
#endif
  return x * y + sums;
}

/** x * y + z, with a single rounding if the CPU supports it. */
static inline F fused(F x, F y, F z) {
#if defined(__AVX512F__)
  return (F)_mm512_fmadd_ps((__m512)x, (__m512)y, (__m512)z);
#elif defined(__FMA__)
  return (F)_mm256_fmadd_ps((__m256)x, (__m256)y, (__m256)z);
#else
  return x * y + z;
#endif
}

static inline void prefetch(const void* p) { __builtin_prefetch(p, 0, 3); }

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
