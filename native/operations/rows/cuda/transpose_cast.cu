// A matrix transposed, in another type: see TransposeCast in ../operation.h.
//
// History
//   Passed its tests on an H200 (commit 1dabc91); never timed by itself. An empty kernel in a graph took 0.52 us there
//   (dependent launch, 132 blocks), 1.57 with 1,056: no more can be gained here than that, and its bytes.
#include "cuda/kernels/elements.h"

namespace onehead::cuda {

namespace {

constexpr int side = 32;

/** Squares of 32 x 32 through shared memory, so that reading and writing both take whole lines. */
__global__ void transposeCastKernel(const __grid_constant__ TransposeCastArguments t) {
  ONEHEAD_SHARED(float, square);  // [side][side + 1]
  letNextKernelStart();
  waitForPreviousKernel();
  const int64_t row0 = int64_t(blockIdx.y) * side, column0 = int64_t(blockIdx.x) * side, b = blockIdx.z;
  const int x = int(threadIdx.x) % side;
  for (int y = int(threadIdx.x) / side; y < side; y += elementThreads / side)
    if (row0 + y < t.rows && column0 + x < t.columns)
      square[y * (side + 1) + x] = t.x[(b * t.rows + row0 + y) * t.columns + column0 + x];
  __syncthreads();
  for (int y = int(threadIdx.x) / side; y < side; y += elementThreads / side)
    if (column0 + y < t.columns && row0 + x < t.rows)
      storeAs(t.y, t.yType, (b * t.columns + column0 + y) * t.rows + row0 + x, square[x * (side + 1) + y]);
}

}  // namespace

cudaError_t transposeCast(const TransposeCastArguments& t, const Launcher& launcher) {
  const dim3 grid(unsigned(divideUp<int64_t>(t.columns, side)), unsigned(divideUp<int64_t>(t.rows, side)),
                  unsigned(t.batch));
  return launch(launcher, transposeCastKernel, grid, dim3(elementThreads), size_t(side) * (side + 1) * sizeof(float),
                t);
}

}  // namespace onehead::cuda
