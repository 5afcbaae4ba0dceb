// Part of row_product.cu and cluster_product.cu: the norm of x's rows, by every block for itself. So blocks need not
// exchange sums; with more rows that is more than a kernel of its own costs.
#pragma once

#include "cluster_weights.h"
#include "cuda/kernels/moments.h"

namespace onehead::cuda {

namespace {

/** The most rows and the largest depth that are normalized here. */
constexpr int maxNormRows = 8, maxNormDepth = 1280;

/** Normalizes a single row that is spread over the block's threads; waits for the previous kernel. `scratch` holds a
 * float for each warp twice. */
template <class T>
__device__ inline void normRow(const FewRowsArguments& m, std::byte* x, float* scratch) {
  constexpr int perThread = (maxNormDepth / 4 + threads - 1) / threads;
  const int thread = int(threadIdx.x), warp = thread / 32, fours = int(m.depth) / 4;
  const auto load = [&](const float* from, float4(&to)[perThread]) {
#pragma unroll
    for (int i = 0; i < perThread; ++i) {
      const int k = thread + i * threads;
      to[i] = k < fours ? loadUncached(reinterpret_cast<const float4*>(from) + k) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    }
  };
  const auto blockTotal = [&](float value, float* parts) {
    value = warpSum(value);
    if (thread % 32 == 0) parts[warp] = value;
    __syncthreads();
    return (parts[0] + parts[1]) + (parts[2] + parts[3]);
  };
  float4 weight[perThread], bias[perThread], values[perThread];
  load(m.normWeight, weight);
  load(m.normBias, bias);
  waitForPreviousKernel();
  load(static_cast<const float*>(m.x), values);
  const float mean = blockTotal(sumOf(values), scratch) / float(m.depth);
  const float squares = subtractMean(values, mean, thread, threads, fours);
  const float factor = rsqrtf(blockTotal(squares, scratch + warps) / float(m.depth) + m.epsilon);
#pragma unroll
  for (int i = 0; i < perThread; ++i) {
    const int k = thread + i * threads;
    if (k >= fours) break;
    const float4 four = values[i];
    auto* pairs = reinterpret_cast<Pair<T>*>(x + k * 4 * int(sizeof(T)));
    pairs[0] =
        makePair<T>(fmaf(four.x * factor, weight[i].x, bias[i].x), fmaf(four.y * factor, weight[i].y, bias[i].y));
    pairs[1] =
        makePair<T>(fmaf(four.z * factor, weight[i].z, bias[i].z), fmaf(four.w * factor, weight[i].w, bias[i].w));
  }
}

/** Normalizes several rows, each by a warp, two at once. `norm` holds weight and bias of the norm. */
template <class T>
__device__ inline void normRows(const FewRowsArguments& m, std::byte* x, int stride, const float* norm) {
  constexpr int perLane = maxNormDepth / 128, atOnce = maxNormRows / warps;
  const int lane = int(threadIdx.x) % 32, fours = int(m.depth) / 4, first = int(threadIdx.x) / 32;
  float4 values[atOnce][perLane];
#pragma unroll
  for (int r = 0; r < atOnce; ++r) {
    const int row = first + r * warps;
    const auto* from = static_cast<const float4*>(m.x) + row * fours;
#pragma unroll
    for (int i = 0; i < perLane; ++i)
      values[r][i] = row < int(m.rows) && i * 32 + lane < fours ? loadUncached(from + i * 32 + lane)
                                                                : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  }
  float factors[atOnce];
#pragma unroll
  for (int r = 0; r < atOnce; ++r) factors[r] = sumOf(values[r]);
#pragma unroll
  for (int r = 0; r < atOnce; ++r) factors[r] = warpSum(factors[r]) / float(m.depth);
#pragma unroll
  for (int r = 0; r < atOnce; ++r) factors[r] = subtractMean(values[r], factors[r], lane, 32, fours);
#pragma unroll
  for (int r = 0; r < atOnce; ++r) factors[r] = rsqrtf(warpSum(factors[r]) / float(m.depth) + m.epsilon);
#pragma unroll
  for (int i = 0; i < perLane; ++i) {
    const int k = i * 32 + lane;
    if (k >= fours) break;
    const float4 weight = reinterpret_cast<const float4*>(norm)[k],
                 bias = reinterpret_cast<const float4*>(norm + m.depth)[k];
#pragma unroll
    for (int r = 0; r < atOnce; ++r) {
      const int row = first + r * warps;
      if (row >= int(m.rows)) break;
      const float4 four = values[r][i];
      const float factor = factors[r];
      auto* pairs = reinterpret_cast<Pair<T>*>(x + row * stride + k * 4 * int(sizeof(T)));
      pairs[0] = makePair<T>(fmaf(four.x * factor, weight.x, bias.x), fmaf(four.y * factor, weight.y, bias.y));
      pairs[1] = makePair<T>(fmaf(four.z * factor, weight.z, bias.z), fmaf(four.w * factor, weight.w, bias.w));
    }
  }
}

/** Sets the ends of x's rows, beyond the depth, to zero. */
template <class T>
__device__ inline void clearEnds(const FewRowsArguments& m, std::byte* x, int stride, int depth) {
  for (int row = int(threadIdx.x) / 32; row < int(m.rows); row += warps)
    for (int k = int(m.depth) + int(threadIdx.x) % 32; k < depth; k += 32)
      reinterpret_cast<T*>(x + row * stride)[k] = fromFloat<T>(0.0f);
}

/** Loads a residual, which an earlier kernel wrote. Compares: divides only if rows repeat. */
template <bool Compares = true>
__device__ inline float loadResidual(const FewRowsArguments& m, int64_t row, int64_t column) {
  const int64_t repeated = Compares && row < m.epilogue.residualRows ? row : row % m.epilogue.residualRows;
  return loadUncached(m.epilogue.residual + repeated * m.columns + column);
}

/** Floats of shared memory that the norm needs: moments, or the norm's weight and bias. */
inline int normFloats(const FewRowsArguments& m) {
  return !m.normWeight ? 0 : m.rows == 1 ? 2 * warps : 2 * int(m.depth);
}

/** Requests the norm's weight and bias for normRows. */
__device__ inline void fetchNorm(const FewRowsArguments& m, float* norm) {
  for (int k = int(threadIdx.x) * 4; k < int(m.depth); k += threads * 4) {
    copyAsync16(norm + k, m.normWeight + k, 16);
    copyAsync16(norm + m.depth + k, m.normBias + k, 16);
  }
}

}  // namespace

}  // namespace onehead::cuda
