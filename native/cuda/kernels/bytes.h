// Whole numbers of 8 bits: widened in registers without conversions, quantized, and multiplied on tensor cores.
//
// A number is written into the bits of a floating one whose last bit counts 1, and what that adds is taken off again:
// exact, and a few instructions of full rate for four numbers, where a conversion has a quarter of it.
#pragma once

#include "numeric.h"

namespace onehead::cuda {

/** Four bytes of eight: byte i of the result is the one whose number the selector's digit i is. */
__device__ inline uint32_t chooseBytes(uint32_t low, uint32_t high, uint32_t selector) {
#if defined(__CUDACC__)
  return __byte_perm(low, high, selector);
#else
  const uint64_t all = uint64_t(high) << 32 | low;
  uint32_t chosen = 0;
  for (int i = 0; i < 4; ++i) chosen |= uint32_t(all >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
  return chosen;
#endif
}

/** a - b of the two halves of a word. */
template <class T>
__device__ inline uint32_t subtractPairs(uint32_t a, uint32_t b) {
#if defined(__CUDACC__)
  if constexpr (std::is_same_v<T, float16>) {
    const __half2 both = __hsub2(*reinterpret_cast<const __half2*>(&a), *reinterpret_cast<const __half2*>(&b));
    return *reinterpret_cast<const uint32_t*>(&both);
  } else {
    const __nv_bfloat162 both =
        __hsub2(*reinterpret_cast<const __nv_bfloat162*>(&a), *reinterpret_cast<const __nv_bfloat162*>(&b));
    return *reinterpret_cast<const uint32_t*>(&both);
  }
#else
  const float2 left = splitPair<T>(a), right = splitPair<T>(b);
  return makePair<T>(left.x - right.x, left.y - right.y);
#endif
}

/** Four whole numbers, the lowest byte's first, as float32. */
__device__ inline void widenBytes(uint32_t word, float (&values)[4]) {
  const uint32_t shifted = word ^ 0x80808080u;  // 128 more: 2^23 + these are written byte by byte
#pragma unroll
  for (int i = 0; i < 4; ++i)
    values[i] = __int_as_float(int(chooseBytes(shifted, 0x4b000000u, 0x7540u + unsigned(i)))) - 8388736.0f;
}

/** Sixteen. */
__device__ inline void unpackBytes(const uint4& raw, float (&values)[16]) {
  const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
  for (int word = 0; word < 4; ++word) {
    float four[4];
    widenBytes(words[word], four);
#pragma unroll
    for (int i = 0; i < 4; ++i) values[word * 4 + i] = four[i];
  }
}

/** Four as two pairs. */
template <class T>
__device__ inline void widenBytes(uint32_t word, Pair<T>& first, Pair<T>& second) {
  if constexpr (std::is_same_v<T, float>) {
    float values[4];
    widenBytes(word, values);
    first = make_float2(values[0], values[1]);
    second = make_float2(values[2], values[3]);
  } else if constexpr (std::is_same_v<T, float16>) {
    const uint32_t shifted = word ^ 0x80808080u;  // 1024 + these
    first = subtractPairs<T>(chooseBytes(shifted, 0x64646464u, 0x4140u), 0x64806480u);
    second = subtractPairs<T>(chooseBytes(shifted, 0x64646464u, 0x4342u), 0x64806480u);
  } else {
    // bfloat16 has 8 bits: 128 + the lower seven, less 128, or 256 where the sign is set.
    const uint32_t lower = word & 0x7f7f7f7fu, sign = word & 0x80808080u;
    first = subtractPairs<T>(chooseBytes(lower, 0x43434343u, 0x4140u), chooseBytes(sign, 0x43434343u, 0x4140u));
    second = subtractPairs<T>(chooseBytes(lower, 0x43434343u, 0x4342u), chooseBytes(sign, 0x43434343u, 0x4342u));
  }
}

/** Eight numbers times a factor, as elements of T in `values`' words of 16 bytes. */
template <class T>
__device__ inline void widenScaled(const uint2& bytes, float scale, uint4 (&to)[8 / vectorSize<T>]) {
  float low[4], high[4];
  widenBytes(bytes.x, low);
  widenBytes(bytes.y, high);
  const float all[8] = {low[0] * scale,  low[1] * scale,  low[2] * scale,  low[3] * scale,
                        high[0] * scale, high[1] * scale, high[2] * scale, high[3] * scale};
#pragma unroll
  for (int part = 0; part < 8 / vectorSize<T>; ++part) {
    float some[vectorSize<T>];
#pragma unroll
    for (int i = 0; i < vectorSize<T>; ++i) some[i] = all[part * vectorSize<T> + i];
    to[part] = pack<T>(some);
  }
}

/** What quantizing must know of a row: its largest magnitude, and that all of it is finite. */
struct Extent {
  float largest = 0, check = 0;
  __device__ void look(float value) {
    largest = fmaxf(largest, fabsf(value));
    check += value * 0.0f;
  }
};

/** A row's factor, and what its elements are multiplied by to be whole numbers: as quantizeRow of the CPU's kernels. */
struct RowScale {
  float scale, inverse;
};
__device__ inline RowScale scaleOf(const Extent& extent) {
  if (!(extent.check == 0.0f)) return {extent.check * 0.0f, 0};  // not finite: NaN, as all that is made of it
  const float scale = extent.largest / 127.0f;
  if (!(scale >= 0x1p-120f)) return {0, 0};  // a smaller one has no reciprocal; next to nothing is nothing
  return {scale, 1.0f / scale};
}
/** The nearest whole number, ties to even. */
__device__ inline int quantized(float value, const RowScale& scale) {
  return scale.inverse > 0 ? int(rintf(value * scale.inverse)) : 0;
}
__device__ inline uint32_t packBytes(int a, int b, int c, int d) {
  return (uint32_t(a) & 0xff) | (uint32_t(b) & 0xff) << 8 | (uint32_t(c) & 0xff) << 16 | uint32_t(d) << 24;
}

/** Over groups of `Lanes` neighbouring lanes; every lane gets the result. */
template <int Lanes = 32>
__device__ inline Extent warpExtent(Extent extent) {
  return {warpMax<Lanes>(extent.largest), warpSum<Lanes>(extent.check)};
}

}  // namespace onehead::cuda
