// Sums attention weights over layers and heads: see AddWeights in operations/alignment/operation.h.
//
// Shapes  scores [entries, heads, keys] float32 -> y [rows, positions, keys], one position of each row
// Launch  one block of 256 threads per entry; shared memory: two floats per head
// Bytes   the scores twice (the second time from cache), and a row of y read and written
// Method  first each warp computes a head's maximum and sum of exponentials, then each thread sums a key's weights over
//         the heads
//
// History
//   Never measured on a GPU.
#include "cuda/kernels/numeric.h"

namespace onehead::cuda {

namespace {

constexpr int threads = 256;

__global__ void __launch_bounds__(threads) addWeightsKernel(const __grid_constant__ AddWeightsArguments a) {
  ONEHEAD_SHARED(float, found);  // [heads][2]: maximum, and factor of the exponentials
  letNextKernelStart();
  waitForPreviousKernel();
  const int64_t row = a.rows ? int64_t(a.rows[blockIdx.x]) : int64_t(blockIdx.x);
  if (row < 0 || row >= a.pool) return;
  const int64_t from = a.from[row], to = a.to[row], position = a.position[row];
  if (from < 0 || from >= a.sources || to < 0 || to >= a.sequences || position < 0 || position >= a.positions) return;
  const int keys = max(int(min<int64_t>(a.counted[row], a.keys)), 0), heads = int(a.heads);
  const float* scores = a.scores + from * a.heads * a.keys;
  const int lane = int(threadIdx.x) % 32;
  for (int head = int(threadIdx.x) / 32; head < heads; head += threads / 32) {
    const float* headScores = scores + head * a.keys;
    float top = -infinity, total = 0;
    for (int n = lane; n < keys; n += 32) top = fmaxf(top, headScores[n]);
    top = warpMax(top);
    for (int n = lane; n < keys; n += 32) total += expf(headScores[n] - top);
    total = warpSum(total);
    if (lane == 0) {
      found[2 * head] = top;
      found[2 * head + 1] = a.factor / total;
    }
  }
  __syncthreads();
  float* y = a.y + (to * a.positions + position) * a.keys;
  for (int n = int(threadIdx.x); n < int(a.keys); n += threads) {
    float sum = a.fresh ? 0.0f : y[n];
    for (int head = 0; head < heads && n < keys; ++head)
      sum += expf(scores[head * a.keys + n] - found[2 * head]) * found[2 * head + 1];
    y[n] = sum;
  }
}

}  // namespace

cudaError_t addWeights(const AddWeightsArguments& a, const Launcher& launcher) {
  return launch(launcher, addWeightsKernel, dim3(unsigned(a.batch)), dim3(threads), addWeightsSharedBytes(a.heads), a);
}

}  // namespace onehead::cuda
