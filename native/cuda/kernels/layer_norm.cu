// Layer norm over rows, into any storage type: before products of more rows than matvec.cu takes, and behind the
// encoder.
//
// Shapes  x [rows, width] float32, weight and bias [width] -> y [rows, width]
// Bytes   x once from memory (its second and third reading hit the first-level cache), y once
// Method  a warp a row, three passes: mean, variance about the mean (the stable way), result
#include "numeric.h"

namespace onehead::cuda {

namespace {

constexpr int warps = 4;

__global__ void __launch_bounds__(warps * 32) layerNormKernel(const __grid_constant__ LayerNormArguments n) {
  letNextStart();
  waitForPrevious();
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
  return launch(launcher, layerNormKernel, dim3(unsigned(divideUp<int64_t>(n.rows, warps))), dim3(warps * 32), 0, n);
}

}  // namespace onehead::cuda
