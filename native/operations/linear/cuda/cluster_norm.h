// Part of cluster_product.cu: the norm of x's rows, of which each block of a cluster uses a range of the depth.
#pragma once

#include "cluster_weights.h"

namespace onehead::cuda {

namespace {

/** The most rows and the largest depth that are normalized here. Every block reads whole rows, so that blocks need not
 * exchange sums; with more rows that is more than a kernel of its own costs. */
constexpr int maxNormRows = 8, maxNormDepth = 1280;

/**
 * Writes this block's range of x's normalized rows, `count` elements from `first` on, to shared memory as T, followed
 * by zeros up to the layout's depth. `norm` holds weight and bias of the norm in this range, `l.depth` floats each. A
 * warp has a whole row in registers: it computes the mean, and the variance about the mean, which is numerically
 * stable.
 */
template <class T>
__device__ inline void normRows(const FewRowsArguments& m, const Layout& l, std::byte* x, const float* norm, int first,
                                int count) {
  constexpr int rowsPerWarp = maxNormRows / warps, perLane = maxNormDepth / 128;
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32, rows = int(m.rows), depth = int(m.depth);
  float4 values[rowsPerWarp][perLane];
#pragma unroll
  for (int i = 0; i < rowsPerWarp; ++i) {
    const auto* from = static_cast<const float4*>(m.x) + int64_t(i * warps + warp) * (depth / 4);
#pragma unroll
    for (int j = 0; j < perLane; ++j) {
      const int k = j * 32 + lane;
      const bool valid = i * warps + warp < rows && k < depth / 4;
      values[i][j] = valid ? loadUncached(from + k) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    }
  }
#pragma unroll
  for (int i = 0; i < rowsPerWarp; ++i) {
    const int row = i * warps + warp;
    if (row >= rows) break;
    float sum = 0, squares = 0;
#pragma unroll
    for (int j = 0; j < perLane; ++j) sum += (values[i][j].x + values[i][j].y) + (values[i][j].z + values[i][j].w);
    const float mean = warpSum(sum) / float(depth);
#pragma unroll
    for (int j = 0; j < perLane; ++j) {
      float4& four = values[i][j];
      four = make_float4(four.x - mean, four.y - mean, four.z - mean, four.w - mean);
      if (j * 32 + lane < depth / 4)
        squares += (four.x * four.x + four.y * four.y) + (four.z * four.z + four.w * four.w);
    }
    const float factor = rsqrtf(warpSum(squares) / float(depth) + m.epsilon);
    std::byte* to = x + row * l.xStride;
#pragma unroll
    for (int j = 0; j < perLane; ++j) {
      const int k = (j * 32 + lane) * 4 - first;
      if (k < 0 || k >= count) continue;
      const float4 four = values[i][j], weight = *reinterpret_cast<const float4*>(norm + k),
                   bias = *reinterpret_cast<const float4*>(norm + l.depth + k);
      auto* pairs = reinterpret_cast<Pair<T>*>(to + k * int(sizeof(T)));
      pairs[0] = makePair<T>(fmaf(four.x * factor, weight.x, bias.x), fmaf(four.y * factor, weight.y, bias.y));
      pairs[1] = makePair<T>(fmaf(four.z * factor, weight.z, bias.z), fmaf(four.w * factor, weight.w, bias.w));
    }
    for (int k = count + lane; k < l.depth; k += 32) reinterpret_cast<T*>(to)[k] = fromFloat<T>(0.0f);
  }
}

}  // namespace

}  // namespace onehead::cuda
