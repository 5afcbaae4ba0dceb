// Heads of keys and values on their way into a cache of 8 bits, each head of a position under one factor.
//
// Shapes   x [batch, rows, heads, size] -> y [positions, heads, size], scales [positions, heads]
// Bytes    each element is read once and written once
// Method   a warp a head: its largest magnitude by shuffles, then rounding to nearest, ties to even; factors are the
//          CPU's, so that a cache holds the same numbers wherever it was made.
//
// History
//   Never timed. Prediction: the keys or the values of a window of large-v3, 1,500 x 1,280, in 3 us (3.8 MB of halves
//   read, 1.9 written); a step's new rows where a kernel of several rows a head reads them, 2 (launch, one load, one
//   store).
#include "cuda/kernels/bytes.h"

namespace onehead::cuda {

namespace {

constexpr int threads = 128, warps = threads / 32;

/** A warp a head of a row. */
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
    const int64_t begin = q.begin[state], to = begin + t;
    if (begin < 0 || to >= q.positions) continue;
    const int64_t place = (q.stateful ? state * q.positions : 0) + to;
    const int64_t from = b * q.batchStride + t * q.rowStride + head * q.headSize;
    Extent extent;
    for (int64_t i = lane; i < q.headSize; i += 32) extent.look(loadAs(part.x, q.xType, from + i));
    const RowScale scale = scaleOf(warpExtent(extent));
    for (int64_t i = lane; i < q.headSize; i += 32)
      part.y[(place * q.heads + head) * q.headSize + i] = int8_t(quantized(loadAs(part.x, q.xType, from + i), scale));
    if (lane == 0) part.scales[place * q.heads + head] = scale.scale;
  }
}

}  // namespace

cudaError_t quantizeHeads(const QuantizeHeadsArguments& q, const Launcher& launcher) {
  const int64_t wanted = divideUp<int64_t>(q.batch * q.rows * q.heads, warps), most = launcher.multiprocessors * 16;
  const dim3 grid(unsigned(smaller(wanted, most)), unsigned(q.count));
  return launch(launcher, quantizeHeadsKernel, grid, dim3(threads), 0, q);
}

}  // namespace onehead::cuda
