// int8 on a GPU: widened in registers without conversion instructions, quantized, and multiplied on tensor cores.
//
// To widen an int8, it is written into the low bits of a float whose last bit counts 1, and the offset is subtracted:
// exact, and a few full-rate instructions for four elements, where conversions have a quarter of that rate.
#pragma once

#include "numeric.h"

namespace onehead::cuda {

/** Selects four of eight bytes: byte i of the result is the byte whose number is the selector's digit i. */
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

/** Adds the products of the four int8 of two words to a sum. */
__device__ inline int addProducts(uint32_t a, uint32_t b, int sum) {
#if defined(__CUDACC__)
  return __dp4a(int(a), int(b), sum);
#else
  for (int i = 0; i < 32; i += 8) sum += int(int8_t(a >> i)) * int(int8_t(b >> i));
  return sum;
#endif
}

/** a - b for both halves of a word. */
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

/** Widens four int8, lowest byte first, to float32. */
__device__ inline void widenBytes(uint32_t word, float (&values)[4]) {
  const uint32_t shifted = word ^ 0x80808080u;  // 128 more; placed byte by byte below 2^23
#pragma unroll
  for (int i = 0; i < 4; ++i)
    values[i] = __int_as_float(int(chooseBytes(shifted, 0x4b000000u, 0x7540u + unsigned(i)))) - 8388736.0f;
}

/** Widens sixteen int8 to float32. */
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

/** Widens four int8 to two pairs of T. */
template <class T>
__device__ inline void widenBytes(uint32_t word, Pair<T>& first, Pair<T>& second) {
  if constexpr (std::is_same_v<T, float>) {
    float values[4];
    widenBytes(word, values);
    first = make_float2(values[0], values[1]);
    second = make_float2(values[2], values[3]);
  } else if constexpr (std::is_same_v<T, float16>) {
    const uint32_t shifted = word ^ 0x80808080u;  // 128 more; placed below 1024
    first = subtractPairs<T>(chooseBytes(shifted, 0x64646464u, 0x4140u), 0x64806480u);
    second = subtractPairs<T>(chooseBytes(shifted, 0x64646464u, 0x4342u), 0x64806480u);
  } else {
    // bfloat16 has 8 significant bits: 128 + the lower seven bits, less 128, or less 256 if the sign bit is set.
    const uint32_t lower = word & 0x7f7f7f7fu, sign = word & 0x80808080u;
    first = subtractPairs<T>(chooseBytes(lower, 0x43434343u, 0x4140u), chooseBytes(sign, 0x43434343u, 0x4140u));
    second = subtractPairs<T>(chooseBytes(lower, 0x43434343u, 0x4342u), chooseBytes(sign, 0x43434343u, 0x4342u));
  }
}

/** Widens eight int8, times a scale, to T. */
template <class T>
__device__ inline void widenScaled(const uint2& bytes, float scale, uint4 (&to)[8 / vectorSize<T>]) {
  float low[4], high[4];
  widenBytes(bytes.x, low);
  widenBytes(bytes.y, high);
  const float all[8] = {low[0] * scale,  low[1] * scale,  low[2] * scale,  low[3] * scale,
                        high[0] * scale, high[1] * scale, high[2] * scale, high[3] * scale};
#pragma unroll
  for (int part = 0; part < 8 / vectorSize<T>; ++part) {
    float elements[vectorSize<T>];
#pragma unroll
    for (int i = 0; i < vectorSize<T>; ++i) elements[i] = all[part * vectorSize<T> + i];
    to[part] = pack<T>(elements);
  }
}

/** What quantizing needs of a row: its largest magnitude, and whether it is finite (check is 0). */
struct Extent {
  float largest = 0, check = 0;
  __device__ void look(float value) {
    largest = fmaxf(largest, fabsf(value));
    check += value * 0.0f;
  }
};

/** A row's scale, and its reciprocal by which elements are multiplied. The same as quantizeRow of the CPU's kernels. */
struct RowScale {
  float scale, inverse;
};
__device__ inline RowScale scaleOf(const Extent& extent) {
  if (!(extent.check == 0.0f)) return {extent.check * 0.0f, 0};  // not finite: the scale is NaN, as are all results
  const float scale = extent.largest / 127.0f;
  if (!(scale >= 0x1p-120f)) return {0, 0};  // a smaller scale has no finite reciprocal: the row counts as zero
  return {scale, 1.0f / scale};
}
/** Rounded to nearest, ties to even. */
__device__ inline int quantized(float value, const RowScale& scale) {
  return scale.inverse > 0 ? int(rintf(value * scale.inverse)) : 0;
}
__device__ inline uint32_t packBytes(int a, int b, int c, int d) {
  return (uint32_t(a) & 0xff) | (uint32_t(b) & 0xff) << 8 | (uint32_t(c) & 0xff) << 16 | uint32_t(d) << 24;
}

/** Combined over groups of `Lanes` neighbouring lanes; every lane gets the result. */
template <int Lanes = 32>
__device__ inline Extent warpExtent(Extent extent) {
  return {warpMax<Lanes>(extent.largest), warpSum<Lanes>(extent.check)};
}

}  // namespace onehead::cuda
