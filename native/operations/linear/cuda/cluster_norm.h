// Part of cluster_product.cu: the norm of x's rows, of which each block of a cluster has a range of the depth.
#pragma once

#include "cluster_weights.h"

namespace onehead::cuda {

namespace {

/**
 * Normalizes this block's range of x's rows, which is in shared memory as float32 and becomes T in place. `count` is
 * the range's length. `norm` holds weight and bias of the norm, `depth` floats each, followed by two floats per row
 * twice: this block's mean and sum of squares, and the row's mean and factor.
 * Means and sums of squares about the mean are combined over the cluster with Chan's formula, so that a large mean
 * costs no precision.
 */
template <class T, class W, int NTiles>
__device__ inline void normRows(const FewRowsArguments& m, const Layout& l, std::byte* x, float* norm, int count) {
  constexpr int rowsPerWarp = NTiles * 8 / warps;
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32, rows = int(m.rows);
  float *blockMoments = norm + 2 * l.depth, *rowMoments = blockMoments + 2 * NTiles * 8;
  auto float4At = [&](int row, int k) { return reinterpret_cast<float4*>(x + row * l.xStride) + k / 4; };

  float sums[rowsPerWarp] = {}, squares[rowsPerWarp] = {};
  for (int k = lane * 4; k < count; k += 128)
#pragma unroll
    for (int i = 0; i < rowsPerWarp; ++i) {
      if (i * warps + warp >= rows) continue;
      const float4 four = *float4At(i * warps + warp, k);
      sums[i] += (four.x + four.y) + (four.z + four.w);
    }
#pragma unroll
  for (int i = 0; i < rowsPerWarp; ++i) sums[i] = warpSum(sums[i]) / float(count);
  for (int k = lane * 4; k < count; k += 128)
#pragma unroll
    for (int i = 0; i < rowsPerWarp; ++i) {
      if (i * warps + warp >= rows) continue;
      const float4 four = *float4At(i * warps + warp, k);
      const float a = four.x - sums[i], b = four.y - sums[i], c = four.z - sums[i], d = four.w - sums[i];
      squares[i] += (a * a + b * b) + (c * c + d * d);
    }
#pragma unroll
  for (int i = 0; i < rowsPerWarp; ++i) {
    const float squareSum = warpSum(squares[i]);
    if (lane != 0) continue;
    blockMoments[2 * (i * warps + warp)] = sums[i];
    blockMoments[2 * (i * warps + warp) + 1] = squareSum;
  }
  if (l.split > 1)
    clusterBarrier();
  else
    __syncthreads();
  if (thread < rows) {
    float means[maxSplit], mean = 0, squareSum = 0;
#pragma unroll
    for (int rank = 0; rank < maxSplit; ++rank) {
      if (rank >= l.split) break;
      means[rank] = l.split > 1 ? loadFromRank(blockMoments + 2 * thread, rank) : blockMoments[2 * thread];
      squareSum += l.split > 1 ? loadFromRank(blockMoments + 2 * thread + 1, rank) : blockMoments[2 * thread + 1];
    }
    float counts[maxSplit];
#pragma unroll
    for (int rank = 0; rank < maxSplit; ++rank) {
      if (rank >= l.split) break;
      const int begin = l.steps * rank / l.split * stepDepth<W>, end = l.steps * (rank + 1) / l.split * stepDepth<W>;
      counts[rank] = float(min(end, int(m.depth)) - begin) / float(m.depth);
      mean = fmaf(means[rank], counts[rank], mean);
    }
    float between = 0;
#pragma unroll
    for (int rank = 0; rank < maxSplit; ++rank) {
      if (rank >= l.split) break;
      between = fmaf((means[rank] - mean) * (means[rank] - mean), counts[rank], between);
    }
    rowMoments[2 * thread] = mean;
    rowMoments[2 * thread + 1] = rsqrtf(squareSum / float(m.depth) + between + m.epsilon);
  }
  __syncthreads();
  for (int row = warp; row < rows; row += warps) {
    const float mean = rowMoments[2 * row], factor = rowMoments[2 * row + 1];
    for (int k = lane * 4; k - lane * 4 < l.depth; k += 128) {
      float four[4] = {};
      if (k < count) {
        const float4 from = *float4At(row, k), weight = *reinterpret_cast<const float4*>(norm + k),
                     bias = *reinterpret_cast<const float4*>(norm + l.depth + k);
        four[0] = fmaf((from.x - mean) * factor, weight.x, bias.x);
        four[1] = fmaf((from.y - mean) * factor, weight.y, bias.y);
        four[2] = fmaf((from.z - mean) * factor, weight.z, bias.z);
        four[3] = fmaf((from.w - mean) * factor, weight.w, bias.w);
      }
      __syncwarp();  // writes may overlap what other lanes have just read, but not what they will read
      if (k >= l.depth) continue;
      auto* to = reinterpret_cast<Pair<T>*>(x + row * l.xStride + k * int(sizeof(T)));
      to[0] = makePair<T>(four[0], four[1]);
      to[1] = makePair<T>(four[2], four[3]);
    }
  }
}

}  // namespace

}  // namespace onehead::cuda
