// The time of each position of a text: see AlignPositions in operations/alignment/operation.h.
//
// Shapes  scores [rows, positions, heads, keys] float32 -> y [sequences, positions]
// Launch  blocks of 256 threads. For each sequence: softmaxKernel with one warp per row, standardizeKernel with one
//         thread per column, filterKernel with one thread per cell. Then timeWarpKernel with one block per sequence and
//         three floats of shared memory per position
// Bytes   the scores three times: 16 MB per sequence for 448 positions, 6 heads and 1,500 keys
// Method  one sequence after another passes through softmax, standardization and median filter (with the mean over
//         heads), so that only one sequence's weights are in memory. Then all sequences pass through dynamic time
//         warping at once: cells of an anti-diagonal depend only on the previous two, which are in shared memory. One
//         thread follows the path back.
//
// History
//   Passed its tests on an H200 (commit 1dabc91); its time was never measured. It runs once per window, after decoding.
#include "cuda/kernels/numeric.h"

namespace onehead::cuda {

namespace {

constexpr int threads = 256, maxWidth = 31;
enum Step : uint8_t { both, position, key };

/** The positions and keys of one sequence that are aligned. */
struct Counted {
  int begin, positions, keys;

  __device__ Counted(const AlignPositionsArguments& a, int64_t s) {
    begin = max(a.begin[s], 0);
    keys = int(min<int64_t>(a.frames[s], a.keys));
    positions = keys <= 0 ? 0 : max(int(min<int64_t>(a.end[s], a.positions)) - begin, 0);
  }
};

/** Floats of one sequence's weights [heads, positions, keys], and of all matrices [sequences, positions, keys]. */
__host__ __device__ int64_t weightElements(const AlignPositionsArguments& a) { return a.heads * a.positions * a.keys; }
__host__ __device__ int64_t matrixElements(const AlignPositionsArguments& a) {
  return a.sequences * a.positions * a.keys;
}
__device__ float* weights(const AlignPositionsArguments& a, int64_t head, int64_t i) {
  return static_cast<float*>(a.scratch) + (head * a.positions + i) * a.keys;
}
__device__ float* matrix(const AlignPositionsArguments& a, int64_t s, int64_t i) {
  return static_cast<float*>(a.scratch) + weightElements(a) + (s * a.positions + i) * a.keys;
}
__device__ uint8_t* trace(const AlignPositionsArguments& a, int64_t s, int64_t i) {
  auto* first = static_cast<float*>(a.scratch) + weightElements(a) + matrixElements(a);
  return reinterpret_cast<uint8_t*>(first) + (s * a.positions + i) * a.keys;
}

__global__ void __launch_bounds__(threads) softmaxKernel(const __grid_constant__ AlignPositionsArguments a, int64_t s) {
  letNextKernelStart();
  waitForPreviousKernel();
  const Counted counted(a, s);
  const int lane = int(threadIdx.x) % 32;
  const int64_t head = blockIdx.y, i = int64_t(blockIdx.x) * (threads / 32) + threadIdx.x / 32;
  if (i >= counted.positions) return;
  const int64_t index = counted.begin + i;
  int64_t row = a.source[s * a.positions + index];
  if (row < 0 || row >= a.rows) row = 0;
  const float* from = a.scores + ((row * a.positions + index) * a.heads + head) * a.keys;
  float* to = weights(a, head, i);
  float top = -infinity, total = 0;
  for (int n = lane; n < counted.keys; n += 32) top = fmaxf(top, from[n]);
  top = warpMax(top);
  for (int n = lane; n < counted.keys; n += 32) {
    to[n] = expf(from[n] - top);
    total += to[n];
  }
  const float factor = 1 / warpSum(total);
  for (int n = lane; n < counted.keys; n += 32) to[n] *= factor;
}

__global__ void __launch_bounds__(threads)
    standardizeKernel(const __grid_constant__ AlignPositionsArguments a, int64_t s) {
  letNextKernelStart();
  waitForPreviousKernel();
  const Counted counted(a, s);
  const int64_t head = blockIdx.y, n = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (n >= counted.keys) return;
  const float each = 1 / float(counted.positions);
  float mean = 0, variance = 0;
  for (int i = 0; i < counted.positions; ++i) mean += weights(a, head, i)[n] * each;
  for (int i = 0; i < counted.positions; ++i) {
    const float difference = weights(a, head, i)[n] - mean;
    variance += difference * difference * each;
  }
  const float scale = variance > 0 ? 1 / sqrtf(variance) : 0.0f;
  for (int i = 0; i < counted.positions; ++i) weights(a, head, i)[n] = (weights(a, head, i)[n] - mean) * scale;
}

/** The median of `width` neighbours in a row, with reflection at both ends, by a partial bubble sort. */
__device__ float median(const float* row, int n, int keys, int width) {
  float values[maxWidth];
  for (int j = 0; j < width; ++j) {
    int at = n + j - width / 2;
    if (at < 0) at = -at;
    if (at >= keys) at = 2 * (keys - 1) - at;
    values[j] = row[at];
  }
  for (int last = width - 1; last >= width / 2; --last)
    for (int j = 0; j < last; ++j) {
      const float low = fminf(values[j], values[j + 1]), high = fmaxf(values[j], values[j + 1]);
      values[j] = low;
      values[j + 1] = high;
    }
  return values[width / 2];
}

__global__ void __launch_bounds__(threads) filterKernel(const __grid_constant__ AlignPositionsArguments a, int64_t s) {
  letNextKernelStart();
  waitForPreviousKernel();
  const Counted counted(a, s);
  const int64_t i = blockIdx.y, n = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (i >= counted.positions || n >= counted.keys) return;
  const int width = int(a.medianWidth), pad = width / 2;
  const bool filtered = pad > 0 && counted.keys > pad;
  const float each = 1 / float(a.heads);
  float sum = 0;
  for (int64_t head = 0; head < a.heads; ++head) {
    const float* row = weights(a, head, i);
    sum += each * (filtered ? median(row, int(n), counted.keys, width) : row[n]);
  }
  matrix(a, s, i)[n] = sum;
}

/** Dynamic time warping. Costs of three anti-diagonals in turn, by position; diagonal d has the cells (i, d - i). */
__global__ void __launch_bounds__(threads) timeWarpKernel(const __grid_constant__ AlignPositionsArguments a) {
  ONEHEAD_SHARED(float, costs);  // [3][positions]
  letNextKernelStart();
  waitForPreviousKernel();
  const int64_t s = blockIdx.x;
  const Counted counted(a, s);
  const int positions = counted.positions, keys = counted.keys;
  for (int d = 0; d < positions + keys - 1 && positions > 0; ++d) {
    float* now = costs + d % 3 * positions;
    const float *last = costs + (d + 2) % 3 * positions, *before = costs + (d + 1) % 3 * positions;
    const int first = max(0, d - keys + 1), end = min(positions, d + 1);
    for (int i = first + int(threadIdx.x); i < end; i += threads) {
      const int n = d - i;
      const float c0 = i > 0 && n > 0 ? before[i - 1] : i == 0 && n == 0 ? 0.0f : infinity;
      const float c1 = i > 0 ? last[i - 1] : infinity, c2 = n > 0 ? last[i] : infinity;
      const Step step = c0 < c1 && c0 < c2 ? both : c1 < c0 && c1 < c2 ? position : key;
      now[i] = (step == both ? c0 : step == position ? c1 : c2) - matrix(a, s, i)[n];
      trace(a, s, i)[n] = step;
    }
    __syncthreads();
  }
  if (threadIdx.x != 0 || positions == 0) return;
  int i = positions - 1, n = keys - 1;
  int32_t* y = a.y + s * a.positions + counted.begin;
  while (i >= 0 && n >= 0) {
    y[i] = n;
    const uint8_t step = trace(a, s, i)[n];
    if (step != key) --i;
    if (step != position) --n;
  }
}

}  // namespace

Needs alignPositionsNeeds(const AlignPositionsArguments& a) {
  return {size_t(weightElements(a) + matrixElements(a)) * sizeof(float) + size_t(matrixElements(a))};
}

cudaError_t alignPositions(const AlignPositionsArguments& a, const Launcher& launcher) {
  const unsigned keyBlocks = unsigned(divideUp<int64_t>(a.keys, threads)), heads = unsigned(a.heads);
  const dim3 rows(unsigned(divideUp<int64_t>(a.positions, threads / 32)), heads);
  cudaError_t error = cudaSuccess;
  for (int64_t s = 0; s < a.sequences && error == cudaSuccess; ++s) {
    error = launch(launcher, softmaxKernel, rows, dim3(threads), 0, a, s);
    if (error == cudaSuccess)
      error = launch(launcher, standardizeKernel, dim3(keyBlocks, heads), dim3(threads), 0, a, s);
    if (error == cudaSuccess)
      error = launch(launcher, filterKernel, dim3(keyBlocks, unsigned(a.positions)), dim3(threads), 0, a, s);
  }
  if (error != cudaSuccess) return error;
  return launch(launcher, timeWarpKernel, dim3(unsigned(a.sequences)), dim3(threads),
                alignPositionsSharedBytes(a.positions), a);
}

}  // namespace onehead::cuda
