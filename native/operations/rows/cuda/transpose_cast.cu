// Transposes a matrix and converts its type: see TransposeCast in ../operation.h.
//
// Shapes  x [batch, rows, columns] float32 -> y [batch, columns, rows]
// Launch  grid (column tiles, row tiles, batch) of 32 x 32, 256 threads; shared memory: one padded tile, 4.1 KB
// Bytes   each element is read and written once
//
// History
//   Passed its tests on an H200 (commit 1dabc91); its time was never measured. An empty kernel in a graph took 0.52 us
//   there (dependent launch, 132 blocks), 1.57 with 1,056 blocks.
#include "cuda/kernels/elements.h"

namespace onehead::cuda {

namespace {

constexpr int side = 32;

/** Tiles go through shared memory, so that reads and writes are both coalesced. */
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
