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
