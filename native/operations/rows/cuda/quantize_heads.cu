// Quantizes heads of keys and values into an int8 cache, with a scale for each head of each position.
//
// Shapes   x [batch, rows, heads, size] -> y [positions, heads, size], scales [positions, heads]
// Launch   grid (at most 16 blocks per multiprocessor of 4 warps, caches), one warp per head of a row; no shared memory
// Bytes    each element is read and written once
// Method   a warp finds the largest magnitude with shuffles, then rounds (nearest, ties to even). Scales are the CPU's,
//          so that a cache holds the same numbers on every device.
//
// History
//   Never measured. Predicted: the keys or values of a window of large-v3 (1,500 x 1,280) 3 us (3.8 MB of float16 read,
//   1.9 written); a step's new rows, if a kernel with several rows per head reads them, 2 (launch, a load, a store).
#include "cuda/kernels/bytes.h"

namespace onehead::cuda {

namespace {

constexpr int threads = 128, warps = threads / 32;

__global__ void __launch_bounds__(threads) quantizeHeadsKernel(const __grid_constant__ QuantizeHeadsArguments q) {
  letNextKernelStart();
  waitForPreviousKernel();
  const int lane = int(threadIdx.x) % 32;
  const QuantizeHeadsArguments::Part& part = q.parts[blockIdx.y];
  const int64_t first = int64_t(blockIdx.x) * warps + threadIdx.x / 32, all = q.batch * q.rows * q.heads;
  for (int64_t at = first; at < all; at += int64_t(gridDim.x) * warps) {
    const int64_t row = at / q.heads, head = at % q.heads, b = row / q.rows, t = row % q.rows;
    int64_t state = b;
    if (q.stateRows) {
      state = q.stateRows[b];
      if (state < 0 || state >= q.pool) continue;
    }
    const int64_t given = q.begin[state], begin = q.stateful ? max<int64_t>(given, 0) : given, to = begin + t;
    if (begin < 0 || to >= q.positions) continue;
    const int64_t position = (q.stateful ? state * q.positions : 0) + to;
    const int64_t from = b * q.batchStride + t * q.rowStride + head * q.headSize;
    Extent extent;
    for (int64_t i = lane; i < q.headSize; i += 32) extent.look(loadAs(part.x, q.xType, from + i));
    const RowScale scale = scaleOf(warpExtent(extent));
    for (int64_t i = lane; i < q.headSize; i += 32)
      part.y[(position * q.heads + head) * q.headSize + i] =
          int8_t(quantized(loadAs(part.x, q.xType, from + i), scale));
    if (lane == 0) part.scales[position * q.heads + head] = scale.scale;
  }
}

}  // namespace

cudaError_t quantizeHeads(const QuantizeHeadsArguments& q, const Launcher& launcher) {
  const int64_t wanted = divideUp<int64_t>(q.batch * q.rows * q.heads, warps), maximum = launcher.multiprocessors * 16;
  const dim3 grid(unsigned(min(wanted, maximum)), unsigned(q.count));
  return launch(launcher, quantizeHeadsKernel, grid, dim3(threads), 0, q);
}

}  // namespace onehead::cuda
