// Matrix products of a warp on tensor cores, with the same fragment layout for all element types.
//
// multiply<T>(d, a, b) computes d[16][8] += a[16][16] b[16][8] with float32 sums. Thread (group = lane / 4, quad = lane
// % 4) holds, as pairs of neighbours along the depth,
//   a[0] = A[group][2 quad ..]      a[1] = A[group + 8][2 quad ..]
//   a[2] = A[group][2 quad + 8 ..]  a[3] = A[group + 8][2 quad + 8 ..]
//   b[0] = B[2 quad ..][group]      b[1] = B[2 quad + 8 ..][group]
//   d[0], d[1] = D[group][2 quad ..]  d[2], d[3] = D[group + 8][2 quad ..]
// which is the layout of mma.m16n8k16 for half types. float32 has no such instruction, so it uses m16n8k8 on tf32. The
// order of depths in a sum is arbitrary, so two neighbouring depths of a thread take the place of the two that tf32's
// layout has 4 apart. Each float32 is split into two tf32 (high and low); three of their four products keep the
// precision of float32 (CUTLASS's 3xTF32; the dropped product is below 2^-22).
#pragma once

#include "numeric.h"

namespace onehead::cuda {

#if defined(__CUDACC__)

__device__ inline float roundToTf32(float x) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return __int_as_float(int(bits));
}

__device__ inline void multiplyTf32(float (&d)[4], const float (&a)[4], const float (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(__float_as_int(a[0])), "r"(__float_as_int(a[1])), "r"(__float_as_int(a[2])), "r"(__float_as_int(a[3])),
        "r"(__float_as_int(b[0])), "r"(__float_as_int(b[1])));
}

template <class T>
__device__ inline void multiplyHalves(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (std::is_same_v<T, float16>)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/** d[16][8] += a[16][32] b[32][8] of int8. A word is four neighbours along the depth, in the layout that pairs of half-
 * precision elements have in a product of depth 16. */
__device__ inline void multiplyInt8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/** Loads four 8x8 matrices of half-precision elements; lanes 8 i ... 8 i + 7 point to the rows of matrix i. */
template <bool Transposed>
__device__ inline void loadMatrices(uint32_t (&words)[4], const void* row) {
  if constexpr (Transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(sharedAddress(row))
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(sharedAddress(row))
                 : "memory");
}

#else
#include "../emulation/tensor_core.inc"
#endif

/** Two int8, loaded like one half-precision element. */
struct BytePair {
  int8_t low, high;
};

/** The type of sums of products of T. */
template <class T>
using Sum = std::conditional_t<std::is_same_v<T, BytePair>, int32_t, float>;

template <class T>
__device__ inline void multiply(float (&d)[4], const Pair<T> (&a)[4], const Pair<T> (&b)[2]) {
  if constexpr (!std::is_same_v<T, float>) {
    multiplyHalves<T>(d, a, b);
  } else {
    // Tensor cores truncate when they add, so a long sum would drift; the sum over 16 depths is added with rounding.
    float sums[4] = {};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float2 top = a[2 * half], bottom = a[2 * half + 1], column = b[half];
      const float wholeA[4] = {top.x, bottom.x, top.y, bottom.y}, wholeB[2] = {column.x, column.y};
      float highA[4], lowA[4], highB[2], lowB[2];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        highA[i] = roundToTf32(wholeA[i]);
        lowA[i] = roundToTf32(wholeA[i] - highA[i]);
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        highB[i] = roundToTf32(wholeB[i]);
        lowB[i] = roundToTf32(wholeB[i] - highB[i]);
      }
      multiplyTf32(sums, lowA, highB);
      multiplyTf32(sums, highA, lowB);
      multiplyTf32(sums, highA, highB);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) d[i] += sums[i];
  }
}

template <class T>
__device__ inline void multiply(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  multiplyInt8(d, a, b);
}

/** Loads A[16][16] from a row-major tile in shared memory with `stride` elements per row. */
template <class T>
__device__ inline void loadA(Pair<T> (&a)[4], const T* tile, int stride) {
  const int lane = int(threadIdx.x) % 32;
  if constexpr (std::is_same_v<T, float>) {
    const T* row = tile + (lane / 4) * stride + lane % 4 * 2;
    a[0] = *reinterpret_cast<const float2*>(row);
    a[1] = *reinterpret_cast<const float2*>(row + 8 * stride);
    a[2] = *reinterpret_cast<const float2*>(row + 8);
    a[3] = *reinterpret_cast<const float2*>(row + 8 * stride + 8);
  } else {
    loadMatrices<false>(a, tile + (lane % 16) * stride + lane / 16 * 8);
  }
}

/** Loads two neighbouring B[16][8] from a tile that holds B's columns as rows: [16 columns][16 depths]. */
template <class T>
__device__ inline void loadB(Pair<T> (&b)[2][2], const T* tile, int stride) {
  const int lane = int(threadIdx.x) % 32;
  if constexpr (std::is_same_v<T, float>) {
    const T* row = tile + (lane / 4) * stride + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      b[n][0] = *reinterpret_cast<const float2*>(row + n * 8 * stride);
      b[n][1] = *reinterpret_cast<const float2*>(row + n * 8 * stride + 8);
    }
  } else {
    uint32_t words[4];
    loadMatrices<false>(words, tile + (lane % 8 + lane / 16 * 8) * stride + lane / 8 % 2 * 8);
    b[0][0] = words[0];
    b[0][1] = words[1];
    b[1][0] = words[2];
    b[1][1] = words[3];
  }
}

/** Loads two neighbouring B[16][8] from a row-major tile: [16 depths][16 columns]. */
template <class T>
__device__ inline void loadBTransposed(Pair<T> (&b)[2][2], const T* tile, int stride) {
  const int lane = int(threadIdx.x) % 32;
  if constexpr (std::is_same_v<T, float>) {
    const T* column = tile + (lane % 4 * 2) * stride + lane / 4;
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const T* at = column + half * 8 * stride + n * 8;
        b[n][half] = make_float2(at[0], at[stride]);
      }
  } else {
    uint32_t words[4];
    loadMatrices<true>(words, tile + (lane % 16) * stride + lane / 16 * 8);
    b[0][0] = words[0];
    b[0][1] = words[1];
    b[1][0] = words[2];
    b[1][1] = words[3];
  }
}

}  // namespace onehead::cuda
