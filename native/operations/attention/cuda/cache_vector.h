// Loading rows of queries, and of caches that may be int8.
#pragma once

#include "attention.h"
#include "cuda/kernels/bytes.h"

namespace onehead::cuda {

/** Loads `Count` elements, a multiple of 16 bytes. */
template <class T, int Count>
__device__ inline void loadElements(const T* from, float (&values)[Count]) {
#pragma unroll
  for (int part = 0; part < Count / vectorSize<T>; ++part) {
    float vectorValues[vectorSize<T>];
    unpack<T>(reinterpret_cast<const uint4*>(from)[part], vectorValues);
#pragma unroll
    for (int i = 0; i < vectorSize<T>; ++i) values[part * vectorSize<T> + i] = vectorValues[i];
  }
}

/** A lane's elements of a query, for products with int8 keys: 24-bit integers times a unit that the head's `Lanes`
 * lanes share, as three int8 each, so that their products with int8 are sums of integers. As exact as float32, and
 * three instructions for four elements, where widening a key takes nine and its products four. */
struct QueryBytes {
  uint32_t digits[3][2];  // [digit][word], lowest digit first
  float unit;
  template <int Lanes>
  __device__ void quantize(const float (&from)[8]) {
    constexpr float largest = 127 * 65536;
    Extent extent;
#pragma unroll
    for (int i = 0; i < 8; ++i) extent.look(from[i]);
    extent = warpExtent<Lanes>(extent);
    unit = extent.largest / largest + extent.check;  // NaN, as are all scores, if the query is not finite
    const float inverse = unit >= 0x1p-120f ? 1.0f / unit : 0.0f;
    uint32_t shifted[8];  // 128 more in each of three bytes, which makes them digits from 0 to 255
#pragma unroll
    for (int i = 0; i < 8; ++i) shifted[i] = uint32_t(inverse > 0 ? int(rintf(from[i] * inverse)) : 0) + 0x808080u;
#pragma unroll
    for (int word = 0; word < 2; ++word) {
      const uint32_t* four = shifted + word * 4;
#pragma unroll
      for (int digit = 0; digit < 3; ++digit) {
        const uint32_t selector = unsigned(digit) * 0x11u + 0x40u;  // this byte of both
        const uint32_t low = chooseBytes(four[0], four[1], selector), high = chooseBytes(four[2], four[3], selector);
        digits[digit][word] = chooseBytes(low, high, 0x5410u) ^ 0x80808080u;
      }
    }
  }
  /** The sum of products with eight elements of a key, in units. */
  __device__ float multiply(const uint2& key) const {
    float sums[3];
#pragma unroll
    for (int digit = 0; digit < 3; ++digit) {
      // Added to the bits of 1.5 x 2^23, the last of which counts 1: a conversion without conversion instructions.
      constexpr int one = 0x4b400000;
      const int sum = addProducts(key.y, digits[digit][1], addProducts(key.x, digits[digit][0], one));
      sums[digit] = __int_as_float(sum) - 12582912.0f;
    }
    return fmaf(sums[2], 65536.0f, fmaf(sums[1], 256.0f, sums[0]));
  }
};

/** A lane's elements of a key or value in a cache of type C: 16 bytes, or 8 int8 and the scale of their head. */
template <class C>
struct CacheVector {
  static constexpr int elements = vectorSize<C>;
  uint4 raw;
  /** Without a branch, so that the loads of several vectors follow each other. */
  __device__ void loadIf(bool wanted, const C* at) {
#if defined(__CUDACC__)
    asm volatile(
        "{\n.reg .pred wanted;\nsetp.ne.s32 wanted, %5, 0;\n"
        "@wanted ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];\n}"
        : "+r"(raw.x), "+r"(raw.y), "+r"(raw.z), "+r"(raw.w)
        : "l"(at), "r"(int(wanted))
        : "memory");
#else
    if (wanted) raw = loadStreaming16(at);
#endif
  }
  __device__ void values(float (&to)[elements]) const { unpack<C>(raw, to); }
  __device__ float factor() const { return 1.0f; }
};
template <>
struct CacheVector<int8_t> {
  static constexpr int elements = 8;
  uint2 raw;
  float scale;
  __device__ void loadIf(bool wanted, const int8_t* at, const float* factor) {
#if defined(__CUDACC__)
    asm volatile(
        "{\n.reg .pred wanted;\nsetp.ne.s32 wanted, %5, 0;\n"
        "@wanted ld.global.L1::no_allocate.v2.u32 {%0, %1}, [%3];\n"
        "@wanted ld.global.f32 %2, [%4];\n}"
        : "+r"(raw.x), "+r"(raw.y), "+f"(scale)
        : "l"(at), "l"(factor), "r"(int(wanted))
        : "memory");
#else
    if (!wanted) return;
    raw = loadStreaming8(at);
    scale = *factor;
#endif
  }
  __device__ void values(float (&to)[elements]) const {
    float low[4], high[4];
    widenBytes(raw.x, low);
    widenBytes(raw.y, high);
#pragma unroll
    for (int i = 0; i < 4; ++i) to[i] = low[i], to[i + 4] = high[i];
  }
  __device__ float factor() const { return scale; }
  /** Quantizes elements of a head that `Lanes` lanes hold. */
  template <int Lanes>
  __device__ void quantize(const float (&from)[elements]) {
    Extent extent;
#pragma unroll
    for (int i = 0; i < elements; ++i) extent.look(from[i]);
    const RowScale row = scaleOf(warpExtent<Lanes>(extent));
    int rounded[elements];
#pragma unroll
    for (int i = 0; i < elements; ++i) rounded[i] = quantized(from[i], row);
    raw = {packBytes(rounded[0], rounded[1], rounded[2], rounded[3]),
           packBytes(rounded[4], rounded[5], rounded[6], rounded[7])};
    scale = row.scale;
  }
};

}  // namespace onehead::cuda
