// Parts of attention_streaming.cu before and after its loop over key tiles.
#pragma once

#include "attention.h"
#include "cuda/kernels/bytes.h"

namespace onehead::cuda {

namespace {

/** Writes the scores of a warp's rows (from `firstRow`) and a tile's keys (from `firstKey`), where they are wanted. */
template <int MTiles, int KeyTiles>
__device__ inline void writeScores(const AttentionArguments& a, int64_t b, const float (&scores)[MTiles][KeyTiles][4],
                                   const int (&visible)[MTiles][2], int rows, int firstRow, int firstKey) {
  const int lane = int(threadIdx.x) % 32, headsPerGroup = int(a.heads / a.keyValueHeads);
  const int scoreKeys = int(a.scoreKeys);
#pragma unroll
  for (int m = 0; m < MTiles; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = firstRow + m * 16 + half * 8 + lane / 4;
      if (row >= rows) continue;
      float* to = scoresOf(a, b, row / headsPerGroup, int64_t(blockIdx.y) * headsPerGroup + row % headsPerGroup);
      if (!to) continue;
#pragma unroll
      for (int n = 0; n < KeyTiles; ++n)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int key = firstKey + n * 8 + lane % 4 * 2 + i;
          if (key < min(visible[m][half], scoreKeys)) to[key] = scores[m][n][half * 2 + i] * a.scale;
        }
    }
}

template <class T>
__device__ inline void clearRows(const AttentionArguments& a, int64_t b, int64_t keyHead) {
  const int64_t width = a.heads / a.keyValueHeads * a.headSize;
  for (int64_t i = threadIdx.x; i < a.queries * width; i += blockDim.x) {
    const int64_t at = b * a.y.batchStride + i / width * a.y.rowStride + keyHead * width + i % width;
    static_cast<T*>(const_cast<void*>(a.y.data))[at] = fromFloat<T>(0.0f);
  }
}

/** Combines the splits of a row tile. `outputOf(row)` is where a row's result goes; `factors` is shared memory of
 * `maxSplits` floats per row. */
template <class T, int Threads, class OutputOf>
__device__ inline void joinSplits(const float* parts, int splitsOfGrid, int splits, int size, int rows, float* factors,
                                  OutputOf outputOf) {
  constexpr int warps = Threads / 32, rowsPerPass = 4, splitsPerPass = 16;
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int64_t part = partialSize(size), rowParts = splitsOfGrid * part;
  for (int first = warp; first < rows; first += warps * rowsPerPass) {
    float2 state[rowsPerPass];
#pragma unroll
    for (int u = 0; u < rowsPerPass; ++u) {
      const int row = first + u * warps;
      state[u] = make_float2(-infinity, 0.0f);
      if (row < rows && lane < splits)
        state[u] = loadUncached(reinterpret_cast<const float2*>(parts + row * rowParts + lane * part + size));
    }
#pragma unroll
    for (int u = 0; u < rowsPerPass; ++u) {
      const float factor = splitFactor(state[u].x, state[u].y);
      if (first + u * warps < rows) factors[(first + u * warps) * maxSplits + lane] = factor;
    }
  }
  __syncthreads();
  const int quads = size / 4;
  for (int index = thread; index < rows * quads; index += Threads) {
    const int row = index / quads, column = index % quads * 4;
    const float* from = parts + row * rowParts + column;
    float sum[4] = {};
    for (int first = 0; first < splits; first += splitsPerPass) {
      float4 values[splitsPerPass];
#pragma unroll
      for (int u = 0; u < splitsPerPass; ++u)
        values[u] = first + u < splits ? loadUncached(reinterpret_cast<const float4*>(from + (first + u) * part))
                                       : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
      for (int u = 0; u < splitsPerPass; ++u) {
        const float factor = factors[row * maxSplits + first + u];  // 0 beyond the last split
        sum[0] = fmaf(values[u].x, factor, sum[0]);
        sum[1] = fmaf(values[u].y, factor, sum[1]);
        sum[2] = fmaf(values[u].z, factor, sum[2]);
        sum[3] = fmaf(values[u].w, factor, sum[3]);
      }
    }
    auto* y = reinterpret_cast<Pair<T>*>(outputOf(row) + column);
    y[0] = makePair<T>(sum[0], sum[1]);
    y[1] = makePair<T>(sum[2], sum[3]);
  }
}

/** Converts a tile of int8 keys or values to T, times their scales if there are any. */
template <class T, int P, int Threads, int Keys, int Stride, bool Scaled>
__device__ inline void widenTile(T* tile, const int8_t* raw, const float* factors) {
  for (int index = int(threadIdx.x); index < Keys * P / 8; index += Threads) {
    const int row = index / (P / 8), column = index % (P / 8) * 8;
    uint4 wide[8 / vectorSize<T>];
    widenScaled<T>(*reinterpret_cast<const uint2*>(raw + row * P + column), Scaled ? factors[row] : 1.0f, wide);
#pragma unroll
    for (int i = 0; i < 8 / vectorSize<T>; ++i) reinterpret_cast<uint4*>(tile + row * Stride + column)[i] = wide[i];
  }
}

}  // namespace

}  // namespace onehead::cuda
