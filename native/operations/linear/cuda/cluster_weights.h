// Part of cluster_product.cu and row_product.cu: a warp's ring of weights between memory and tensor cores.
#pragma once

#include "cuda/kernels/bytes.h"
#include "cuda/kernels/tensor_core.h"

namespace onehead::cuda {

namespace {

constexpr int warps = 4, threads = warps * 32;
constexpr int warpColumns = 16, blockColumns = warps * warpColumns;
constexpr int maxSplit = 8;
constexpr int rowBytes = 128;  // of a weight's row per stage: a cache line
constexpr int stageBytes = warpColumns * rowBytes;
constexpr int sumStride = 20;  // floats between rows of a warp's sums: its stores fall into different banks

/** Depth of a stage for weights of type W. */
template <class W>
constexpr int stepDepth = rowBytes / int(sizeof(W));

/** Stages of each warp's ring. If x is whole, it leaves room for one block per multiprocessor from 32 rows on, so that
 * block has more in flight. */
constexpr int stagesFor(int nTiles, bool wholeX) {
  return nTiles <= 2 ? 6 : nTiles == 4 ? (wholeX ? 10 : 5) : (wholeX ? 5 : 4);
}

/** Blocks that are resident at once, about: their shared memory lets two to four fit on a multiprocessor. */
inline int64_t residentBlocks(const Launcher& launcher) { return launcher.multiprocessors * 5 / 2; }

/** How a case is divided over blocks and laid out in shared memory. */
struct Layout {
  int split = 1;                        // blocks of a cluster, which share the depth
  int steps = 0;                        // stages of the whole depth
  int64_t blocks = 0;                   // of the grid
  int depth = 0, xStride = 0;           // elements of the largest range of the depth; bytes between rows of x
  int sumsAt = 0, normAt = 0, xAt = 0;  // offsets in shared memory, in bytes
  size_t sharedBytes = 0;
};

/** Whether x and weight can be copied 16 bytes at a time, and x has the type that the products take. */
inline bool copiesFit(const FewRowsArguments& m, const Launcher& launcher) {
  const bool typed = m.xType == (m.normWeight ? DType::float32 : m.weightType);
  const bool aligned = aligned16(m.x) && aligned16(m.weight) && aligned16(m.normWeight) && aligned16(m.normBias);
  return launcher.clusters && typed && aligned &&
         m.depth * int64_t(m.epilogue.columnScales ? 1 : bytesOf(m.weightType)) % 16 == 0;
}

/** The offset of a 16-byte chunk of a row in a stage. Chunks are permuted by row (XOR), so that rows that are read at
 * the same time fall into different banks: 8 rows with ldmatrix, 2 rows of int8, of which a lane reads 16 bytes. */
template <class W>
__device__ inline int chunkOffset(int row, int chunk) {
  return row * rowBytes + (chunk ^ (std::is_same_v<W, int8_t> ? row % 2 * 4 : row & 7)) * 16;
}

/** Copies 128 bytes of each of this warp's 16 weight rows to a stage; zeros beyond the weight. */
template <class W>
__device__ inline void fetchWeights(const FewRowsArguments& m, std::byte* stage, int64_t column0, int step) {
  const int lane = int(threadIdx.x) % 32;
  const W* weight = static_cast<const W*>(m.weight);
#pragma unroll
  for (int i = 0; i < stageBytes / 16 / 32; ++i) {
    const int index = i * 32 + lane, row = index / 8, chunk = index % 8;
    const int64_t column = column0 + row, k = int64_t(step) * stepDepth<W> + chunk * vectorSize<W>;
    const bool valid = column < m.columns && k < m.depth;
    copyAsync16(stage + chunkOffset<W>(row, chunk), valid ? weight + column * m.depth + k : weight, valid ? 16 : 0);
  }
}

/** Loads the A[16][16] fragment of a slice of a stage. */
template <class T>
__device__ inline void loadWeights(Pair<T> (&a)[4], const std::byte* stage, int slice) {
  const int lane = int(threadIdx.x) % 32;
  if constexpr (std::is_same_v<T, float>) {
    const int row = lane / 4, quad = lane % 4;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int chunk = slice * 4 + i / 2 * 2 + quad / 2;
      const std::byte* at = stage + chunkOffset<T>(row + i % 2 * 8, chunk) + quad % 2 * 8;
      a[i] = *reinterpret_cast<const float2*>(at);
    }
  } else {
    const int row = lane % 16, chunk = slice * 2 + lane / 16;
    loadMatrices<false>(a, stage + chunkOffset<T>(row, chunk));
  }
}

/**
 * Adds a stage's products with int8 weights. Each lane multiplies the 16 consecutive depths that it reads of a row of
 * weights by the same 16 of x: the order of depths in a sum is arbitrary.
 */
template <class T, int NTiles>
__device__ inline void multiplyInt8Stage(float (&sums)[NTiles][4], const std::byte* stage, const T* x, int stride) {
  constexpr int slices = stepDepth<int8_t> / 64;
  const int lane = int(threadIdx.x) % 32, group = lane / 4, quad = lane % 4;
#pragma unroll NTiles < 4 ? 2 : 1  // more would spill
  for (int slice = 0; slice < slices; ++slice) {
    const int chunk = slice * 4 + quad;
    const uint4 top = *reinterpret_cast<const uint4*>(stage + chunkOffset<int8_t>(group, chunk));
    const uint4 bottom = *reinterpret_cast<const uint4*>(stage + chunkOffset<int8_t>(group + 8, chunk));
    const uint32_t tops[4] = {top.x, top.y, top.z, top.w}, bottoms[4] = {bottom.x, bottom.y, bottom.z, bottom.w};
    const T* row = x + group * stride + slice * 64 + quad * 16;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      Pair<T> left[2][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        widenBytes<T>(tops[half * 2 + i], left[i][0], left[i][2]);
        widenBytes<T>(bottoms[half * 2 + i], left[i][1], left[i][3]);
      }
#pragma unroll
      for (int n = 0; n < NTiles; ++n) {
        const T* from = row + n * 8 * stride + half * 8;
        Pair<T> right[2][2];
        if constexpr (std::is_same_v<T, float>) {
          const float4 low = *reinterpret_cast<const float4*>(from), high = *reinterpret_cast<const float4*>(from + 4);
          right[0][0] = make_float2(low.x, low.y), right[0][1] = make_float2(low.z, low.w);
          right[1][0] = make_float2(high.x, high.y), right[1][1] = make_float2(high.z, high.w);
        } else {
          const uint4 words = *reinterpret_cast<const uint4*>(from);
          right[0][0] = words.x, right[0][1] = words.y;
          right[1][0] = words.z, right[1][1] = words.w;
        }
        multiply<T>(sums[n], left[0], right[0]);
        multiply<T>(sums[n], left[1], right[1]);
      }
    }
  }
}

/** Adds a stage's products. `x` points to the stage's first depth in the first row of x. */
template <class T, int NTiles>
__device__ inline void multiplyStage(float (&sums)[NTiles][4], const std::byte* stage, const T* x, int stride) {
  constexpr int slices = stepDepth<T> / 16;
  const int lane = int(threadIdx.x) % 32;
  if constexpr (NTiles == 1 && !std::is_same_v<T, float>) {
    uint32_t right[slices / 2][4], left[slices][4];
#pragma unroll
    for (int i = 0; i < slices / 2; ++i)  // 8 rows of x at 32 depths
      loadMatrices<false>(right[i], x + (lane % 8) * stride + i * 32 + lane / 8 * 8);
#pragma unroll
    for (int slice = 0; slice < slices; ++slice) loadWeights<T>(left[slice], stage, slice);
    float others[4] = {};  // two chains of products are faster than one
#pragma unroll
    for (int i = 0; i < slices / 2; ++i) {
      const Pair<T> first[2] = {right[i][0], right[i][1]}, second[2] = {right[i][2], right[i][3]};
      multiply<T>(sums[0], left[2 * i], first);
      multiply<T>(others, left[2 * i + 1], second);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[0][i] += others[i];
  } else {
#pragma unroll
    for (int slice = 0; slice < slices; ++slice) {
      Pair<T> left[4];
      loadWeights<T>(left, stage, slice);
      if constexpr (NTiles == 1) {
        const T* row = x + (lane / 4) * stride + slice * 16 + lane % 4 * 2;
        const Pair<T> right[2] = {*reinterpret_cast<const Pair<T>*>(row), *reinterpret_cast<const Pair<T>*>(row + 8)};
        multiply<T>(sums[0], left, right);
      } else {
#pragma unroll
        for (int n = 0; n < NTiles; n += 2) {
          Pair<T> right[2][2];
          loadB<T>(right, x + n * 8 * stride + slice * 16, stride);
          multiply<T>(sums[n], left, right[0]);
          multiply<T>(sums[n + 1], left, right[1]);
        }
      }
    }
  }
}

}  // namespace

}  // namespace onehead::cuda
