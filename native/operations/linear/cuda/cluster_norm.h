// Of cluster_product.cu: the norm of x's rows, each of whose blocks has a share of the depth.
#pragma once

#include "cluster_weights.h"

namespace onehead::cuda {

namespace {

/**
 * The norm of this block's share of x's rows, which lies in shared memory as float32 and becomes T in place. `count`
 * elements of each row are this block's, `norm` holds the norm's weight and bias for `depth` of them each, and behind
 * those there is room for two floats a row, twice.
 */
template <class T, class W, int NTiles>
__device__ inline void normRows(const FewRowsArguments& m, const Layout& l, std::byte* x, float* norm, int count) {
  constexpr int rowsOfWarp = NTiles * 8 / warps;
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32, rows = int(m.rows);
  float *shares = norm + 2 * l.depth, *whole = shares + 2 * NTiles * 8;
  auto fourOf = [&](int row, int k) { return reinterpret_cast<float4*>(x + row * l.xStride) + k / 4; };

  float sums[rowsOfWarp] = {}, squares[rowsOfWarp] = {};
  for (int k = lane * 4; k < count; k += 128)
#pragma unroll
    for (int i = 0; i < rowsOfWarp; ++i) {
      if (i * warps + warp >= rows) continue;
      const float4 four = *fourOf(i * warps + warp, k);
      sums[i] += (four.x + four.y) + (four.z + four.w);
    }
#pragma unroll
  for (int i = 0; i < rowsOfWarp; ++i) sums[i] = warpSum(sums[i]) / float(count);
  for (int k = lane * 4; k < count; k += 128)
#pragma unroll
    for (int i = 0; i < rowsOfWarp; ++i) {
      if (i * warps + warp >= rows) continue;
      const float4 four = *fourOf(i * warps + warp, k);
      const float a = four.x - sums[i], b = four.y - sums[i], c = four.z - sums[i], d = four.w - sums[i];
      squares[i] += (a * a + b * b) + (c * c + d * d);
    }
#pragma unroll
  for (int i = 0; i < rowsOfWarp; ++i) {
    const float all = warpSum(squares[i]);
    if (lane != 0) continue;
    shares[2 * (i * warps + warp)] = sums[i];
    shares[2 * (i * warps + warp) + 1] = all;
  }
  if (l.split > 1)
    clusterBarrier();
  else
    __syncthreads();
  if (thread < rows) {
    float means[mostSplit], mean = 0, all = 0;
#pragma unroll
    for (int rank = 0; rank < mostSplit; ++rank) {
      if (rank >= l.split) break;
      means[rank] = l.split > 1 ? loadFromRank(shares + 2 * thread, rank) : shares[2 * thread];
      all += l.split > 1 ? loadFromRank(shares + 2 * thread + 1, rank) : shares[2 * thread + 1];
    }
    float counts[mostSplit];
#pragma unroll
    for (int rank = 0; rank < mostSplit; ++rank) {
      if (rank >= l.split) break;
      const int begin = l.steps * rank / l.split * stepDepth<W>, end = l.steps * (rank + 1) / l.split * stepDepth<W>;
      counts[rank] = float(smaller(end, int(m.depth)) - begin) / float(m.depth);
      mean = fmaf(means[rank], counts[rank], mean);
    }
    float between = 0;
#pragma unroll
    for (int rank = 0; rank < mostSplit; ++rank) {
      if (rank >= l.split) break;
      between = fmaf((means[rank] - mean) * (means[rank] - mean), counts[rank], between);
    }
    whole[2 * thread] = mean;
    whole[2 * thread + 1] = rsqrtf(all / float(m.depth) + between + m.epsilon);
  }
  __syncthreads();
  for (int row = warp; row < rows; row += warps) {
    const float mean = whole[2 * row], factor = whole[2 * row + 1];
    for (int k = lane * 4; k - lane * 4 < l.depth; k += 128) {
      float four[4] = {};
      if (k < count) {
        const float4 from = *fourOf(row, k), weight = *reinterpret_cast<const float4*>(norm + k),
                     bias = *reinterpret_cast<const float4*>(norm + l.depth + k);
        four[0] = fmaf((from.x - mean) * factor, weight.x, bias.x);
        four[1] = fmaf((from.y - mean) * factor, weight.y, bias.y);
        four[2] = fmaf((from.z - mean) * factor, weight.z, bias.z);
        four[3] = fmaf((from.w - mean) * factor, weight.w, bias.w);
      }
      __syncwarp();  // what is written here may lie where other lanes have just read, never where they will
      if (k >= l.depth) continue;
      auto* to = reinterpret_cast<Pair<T>*>(x + row * l.xStride + k * int(sizeof(T)));
      to[0] = makePair<T>(four[0], four[1]);
      to[1] = makePair<T>(four[2], four[3]);
    }
  }
}

}  // namespace

}  // namespace onehead::cuda
