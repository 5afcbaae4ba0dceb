// Layer norm over rows, with output in any floating type: before products of many rows, and after the encoder.
//
// Shapes  x [rows, width] float32, weight and bias [width] -> y [rows, width]
// Launch  blocks of 4 warps, one row per warp; no shared memory. More rows than that gives each multiprocessor one
//         block: as many blocks of 12 warps as are resident, whose warps take every n-th row; weight and bias in shared
//         memory, 8 width bytes
// Bytes   x and y once; at 32 rows only latency matters
// Method  a warp holds its row in registers. All loads of x, weight and bias are issued before the first is used, 16
//         bytes each; then it computes the mean, and the variance about the mean (numerically stable), without reading
//         again. Where there are many rows, weight and bias, twice the bytes of a row, pass through the L2 cache once
//         for each block and not for each row. Rows wider than any Whisper's (1,280), or not a multiple of four, are
//         read three times.
//
// History
//   Measured on an H200 at commit 1dabc91 (width 1,280): 20 us for 32 rows, 21 us for 1,500 rows (twice per encoder
//   layer of 226 us at batch 1); lower bounds 0.1 and 3. Elements were loaded one at a time, in three passes: 25 of 28
//   stall cycles waited for memory.
//   Measured at commit 3c93d7d7, with one wait for memory: 2.3 us for one row, 2.5 for 32, 6.4 for 1,500 (11.5 MB take
//   2.9 at 3.9 TB/s); width 384 1.4, 1.5 and 4.0. Predicted had been 2 and 4 to 5.
//   Predicted for blocks that share weight and bias, not measured: 4.5 us for 1,500 rows of 1,280.
//   Registers for 90a: 66, 115 and 143 by width, enough for more than 1,584 resident rows; with shared weights 48, 68
//   and 78; no spills.
#include "cuda/kernels/moments.h"
#include "cuda/kernels/numeric.h"

namespace onehead::cuda {

namespace {

constexpr int warps = 4;

/** For widths up to Fours x 128 that are multiples of four. */
template <int Fours>
__global__ void __launch_bounds__(warps * 32) layerNormKernel(const __grid_constant__ LayerNormArguments n) {
  letNextKernelStart();
  if (n.weightChanges) waitForPreviousKernel();
  const int64_t row = int64_t(blockIdx.x) * warps + threadIdx.x / 32;
  const int lane = int(threadIdx.x) % 32, fours = int(n.width) / 4;
  if (row >= n.rows) return waitForPreviousKernel();
  const float4 zero = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  float4 x[Fours], weight[Fours], bias[Fours];
  auto load = [&](float4(&to)[Fours], const float* from) {
#pragma unroll
    for (int i = 0; i < Fours; ++i) {
      const int k = i * 32 + lane;
      to[i] = k < fours ? loadUncached(reinterpret_cast<const float4*>(from) + k) : zero;
    }
  };
  load(weight, n.weight);
  load(bias, n.bias);
  waitForPreviousKernel();
  load(x, n.x + row * n.width);
  const float mean = warpSum(sumOf(x)) / float(n.width);
  float squares = 0;
#pragma unroll
  for (int i = 0; i < Fours; ++i) {
    if (i * 32 + lane >= fours) continue;
    x[i] = make_float4(x[i].x - mean, x[i].y - mean, x[i].z - mean, x[i].w - mean);
    squares += (x[i].x * x[i].x + x[i].y * x[i].y) + (x[i].z * x[i].z + x[i].w * x[i].w);
  }
  const float factor = rsqrtf(warpSum(squares) / float(n.width) + n.epsilon);
#pragma unroll
  for (int i = 0; i < Fours; ++i) {
    const int k = i * 32 + lane;
    if (k >= fours) continue;
    const float4 y =
        make_float4(fmaf(x[i].x * factor, weight[i].x, bias[i].x), fmaf(x[i].y * factor, weight[i].y, bias[i].y),
                    fmaf(x[i].z * factor, weight[i].z, bias[i].z), fmaf(x[i].w * factor, weight[i].w, bias[i].w));
    storeFour(n.y, n.yType, row * n.width + k * 4, y);
  }
}

/** The warps of a block that shares weight and bias, and how many such blocks a multiprocessor holds. */
constexpr int sharingWarps = 12, sharingBlocks = 2;

/** The same for many rows: a block's warps read weight and bias from shared memory. */
template <int Fours>
__global__ void __launch_bounds__(sharingWarps * 32, sharingBlocks)
    sharingLayerNormKernel(const __grid_constant__ LayerNormArguments n) {
  ONEHEAD_SHARED(float4, shared);
  const int lane = int(threadIdx.x) % 32, fours = int(n.width) / 4;
  letNextKernelStart();
  if (n.weightChanges) waitForPreviousKernel();
  float4 *const weight = shared, *const bias = shared + fours;
  for (int k = int(threadIdx.x); k < fours; k += sharingWarps * 32) {
    copyAsync16(weight + k, reinterpret_cast<const float4*>(n.weight) + k, 16);
    copyAsync16(bias + k, reinterpret_cast<const float4*>(n.bias) + k, 16);
  }
  commitCopies();
  waitForPreviousKernel();
  const int64_t step = int64_t(gridDim.x) * sharingWarps;
  int64_t row = int64_t(blockIdx.x) * sharingWarps + threadIdx.x / 32;
  float4 x[Fours];
  auto load = [&] {
#pragma unroll
    for (int i = 0; i < Fours; ++i) {
      const int k = i * 32 + lane;
      x[i] = row < n.rows && k < fours ? loadUncached(reinterpret_cast<const float4*>(n.x + row * n.width) + k)
                                       : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    }
  };
  load();
  waitForCopies<0>();
  __syncthreads();
  while (row < n.rows) {
    const float mean = warpSum(sumOf(x)) / float(n.width);
    const float squares = subtractMean(x, mean, lane, 32, fours);
    const float factor = rsqrtf(warpSum(squares) / float(n.width) + n.epsilon);
#pragma unroll
    for (int i = 0; i < Fours; ++i) {
      const int k = i * 32 + lane;
      if (k >= fours) continue;
      const float4 w = weight[k], b = bias[k];
      storeFour(n.y, n.yType, row * n.width + k * 4,
                make_float4(fmaf(x[i].x * factor, w.x, b.x), fmaf(x[i].y * factor, w.y, b.y),
                            fmaf(x[i].z * factor, w.z, b.z), fmaf(x[i].w * factor, w.w, b.w)));
    }
    row += step;
    load();
  }
}

__global__ void __launch_bounds__(warps * 32) anyLayerNormKernel(const __grid_constant__ LayerNormArguments n) {
  letNextKernelStart();
  waitForPreviousKernel();
  const int64_t row = int64_t(blockIdx.x) * warps + threadIdx.x / 32;
  const int lane = int(threadIdx.x) % 32;
  if (row >= n.rows) return;
  const float* x = n.x + row * n.width;
  float sum = 0, squares = 0;
  for (int64_t k = lane; k < n.width; k += 32) sum += x[k];
  const float mean = warpSum(sum) / float(n.width);
  for (int64_t k = lane; k < n.width; k += 32) squares += (x[k] - mean) * (x[k] - mean);
  const float factor = rsqrtf(warpSum(squares) / float(n.width) + n.epsilon);
  for (int64_t k = lane; k < n.width; k += 32)
    storeAs(n.y, n.yType, row * n.width + k, (x[k] - mean) * factor * n.weight[k] + n.bias[k]);
}

}  // namespace

cudaError_t layerNorm(const LayerNormArguments& n, const Launcher& launcher) {
  auto start = [&](auto kernel) {
    return launch(launcher, kernel, dim3(unsigned(divideUp<int64_t>(n.rows, warps))), dim3(warps * 32), 0, n);
  };
  auto startSharing = [&](auto kernel) {
    const int64_t resident = int64_t(launcher.multiprocessors) * sharingBlocks;
    const int64_t blocks = min<int64_t>(divideUp<int64_t>(n.rows, sharingWarps), resident);
    return launch(launcher, kernel, dim3(unsigned(blocks)), dim3(sharingWarps * 32),
                  size_t(n.width) * 2 * sizeof(float), n);
  };
  const bool fits = n.width % 4 == 0 && aligned16(n.x) && aligned16(n.weight) && aligned16(n.bias) && aligned16(n.y);
  if (launcher.sharingNorm && fits && n.rows > warps * int64_t(launcher.multiprocessors)) {
    if (n.width <= 4 * 128) return startSharing(sharingLayerNormKernel<4>);
    if (n.width <= 8 * 128) return startSharing(sharingLayerNormKernel<8>);
    if (n.width <= 10 * 128) return startSharing(sharingLayerNormKernel<10>);
  }
  if (fits && n.width <= 4 * 128) return start(layerNormKernel<4>);
  if (fits && n.width <= 8 * 128) return start(layerNormKernel<8>);
  if (fits && n.width <= 10 * 128) return start(layerNormKernel<10>);
  return start(anyLayerNormKernel);
}

}  // namespace onehead::cuda
