// Part of projected_attention.cu: the layout of a case, and the product before attention (the norm of x's rows, and
// this block's columns).
#pragma once

#include "../../attention/cuda/attention_running.h"
#include "cuda/kernels/tensor_core.h"

namespace onehead::cuda {

namespace {

constexpr int threads = 256, warps = threads / 32;
constexpr int cluster = 8;
constexpr int stepsPerGroup = 3;  // steps over the keys per group of copies
constexpr int sliceDepth = 32;
constexpr int maxTiles = 3;                         // of 16 columns: 3 x 128 / 8 at most
constexpr int maxFloat4 = 16, preloadedFloat4 = 4;  // float4 of a row of x per lane, at most

/** How a case is divided over blocks and laid out in shared memory. */
struct Layout {
  int rows = 1, groups = 1;                              // rows of a cluster, and clusters of a head
  int warpsPerRow = warps;                               // a power of two
  int parts = 1, columns = 0;                            // 3 with key and value; columns of a block, over all parts
  int weightStride = 0, xStride = 0;                     // bytes
  int ringAt = 0, xAt = 0, projectedAt = 0, biasAt = 0;  // offsets in shared memory, in bytes
  size_t sharedBytes = 0;
};

/** Mean, sum of squares about the mean, and length of a part of a row. */
struct Moments {
  float mean, squares, count;
};

/** Writes the norm of x's rows to shared memory as T. A lane has N float4 of a row. If that is fewFours, `norm` holds
 * their weights and biases, which were loaded before the wait. */
template <class T, int N>
__device__ inline void normRows(const FewRowsArguments& m, const Layout& l, int64_t row0, int rows, std::byte* x,
                                Moments* moments, const float4 (&norm)[preloadedFloat4][2]) {
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  const int row = warp / l.warpsPerRow, part = warp % l.warpsPerRow, float4Count = int(m.depth) / 4;
  const bool active = row < rows;
  const auto* from = static_cast<const float4*>(m.x) + (row0 + row) * float4Count;
  auto index = [&](int i) { return (i * l.warpsPerRow + part) * 32 + lane; };
  float4 values[N];
  float sum = 0;
  int count = 0;  // of the warp
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const bool valid = active && index(i) < float4Count;
    values[i] = valid ? from[index(i)] : make_float4(0, 0, 0, 0);
    count += max(min(float4Count - (index(i) - lane), 32), 0);
  }
#pragma unroll
  for (int i = 0; i < N; ++i) sum += (values[i].x + values[i].y) + (values[i].z + values[i].w);
  const float ownMean = warpSum(sum) / float(max(4 * count, 1));
  float squares = 0;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float a = values[i].x - ownMean, b = values[i].y - ownMean, c = values[i].z - ownMean,
                d = values[i].w - ownMean;
    if (index(i) < float4Count) squares += (a * a + b * b) + (c * c + d * d);
  }
  squares = warpSum(squares);
  if (lane == 0) moments[warp] = {ownMean, squares, float(4 * count)};
  __syncthreads();
  float mean = 0, all = 0;
  const Moments* rowMoments = moments + warp - part;
  for (int i = 0; i < l.warpsPerRow; ++i) mean = fmaf(rowMoments[i].mean, rowMoments[i].count / float(m.depth), mean);
  for (int i = 0; i < l.warpsPerRow; ++i) {
    const float away = rowMoments[i].mean - mean;
    all += fmaf(away * away, rowMoments[i].count, rowMoments[i].squares);
  }
  const float factor = rsqrtf(all / float(m.depth) + m.epsilon);
  if (!active) return;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if (index(i) >= float4Count) continue;
    float4 weight, bias;
    if constexpr (N == preloadedFloat4) {
      weight = norm[i][0];
      bias = norm[i][1];
    } else {
      weight = reinterpret_cast<const float4*>(m.normWeight)[index(i)];
      bias = reinterpret_cast<const float4*>(m.normBias)[index(i)];
    }
    auto* to = reinterpret_cast<Pair<T>*>(x + row * l.xStride + index(i) * 4 * int(sizeof(T)));
    to[0] = makePair<T>(fmaf((values[i].x - mean) * factor, weight.x, bias.x),
                        fmaf((values[i].y - mean) * factor, weight.y, bias.y));
    to[1] = makePair<T>(fmaf((values[i].z - mean) * factor, weight.z, bias.z),
                        fmaf((values[i].w - mean) * factor, weight.w, bias.w));
  }
}

/** Adds a warp's part of the products: every eighth slice of the depth. Rows and columns beyond the end read the last
 * one; their sums are not used. */
template <class T>
__device__ inline void multiplySlices(float (&sums)[maxTiles][4], const Layout& l, int rows, const std::byte* weights,
                                      const std::byte* x, int depth) {
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  auto weightAt = [&](int column, int k) {
    return reinterpret_cast<const T*>(weights + min(column, l.columns - 1) * l.weightStride) + k;
  };
  auto xAt = [&](int row, int k) { return reinterpret_cast<const T*>(x + min(row, rows - 1) * l.xStride) + k; };
  for (int slice = warp; slice < depth / sliceDepth; slice += warps) {
    Pair<T> right[2][2];
    if constexpr (std::is_same_v<T, float>) {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        right[i / 2][i % 2] =
            *reinterpret_cast<const float2*>(xAt(lane / 4, slice * sliceDepth + i * 8 + lane % 4 * 2));
    } else {
      uint32_t words[4];
      loadMatrices<false>(words, xAt(lane % 8, slice * sliceDepth + lane / 8 * 8));
#pragma unroll
      for (int i = 0; i < 4; ++i) right[i / 2][i % 2] = words[i];
    }
#pragma unroll
    for (int tile = 0; tile < maxTiles; ++tile) {
      if (tile * 16 >= l.columns) break;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int k = slice * sliceDepth + half * 16;
        Pair<T> left[4];
        if constexpr (std::is_same_v<T, float>) {
#pragma unroll
          for (int i = 0; i < 4; ++i)
            left[i] = *reinterpret_cast<const float2*>(
                weightAt(tile * 16 + lane / 4 + i % 2 * 8, k + i / 2 * 8 + lane % 4 * 2));
        } else {
          loadMatrices<false>(left, weightAt(tile * 16 + lane % 16, k + lane / 16 * 8));
        }
        multiply<T>(sums[tile], left, right[half]);
      }
    }
  }
}

}  // namespace

}  // namespace onehead::cuda
