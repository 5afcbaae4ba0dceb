// Selects rows of a tensor: see GatherRows in ../operation.h.
//
// Shapes  x [batch, length, width], index [count, batch] -> y [count, batch, width]
// Launch  one element per thread and iteration (see elements.h); no shared memory
// Bytes   each selected element is read and written once
//
// History
//   Passed its tests on an H200 (commit 1dabc91); its time was never measured. An empty kernel in a graph took 0.52 us
//   there (dependent launch, 132 blocks), 1.57 with 1,056 blocks.
#include "cuda/kernels/elements.h"

namespace onehead::cuda {

namespace {

__global__ void gatherRowsKernel(const __grid_constant__ GatherRowsArguments g) {
  letNextKernelStart();
  waitForPreviousKernel();
  for (int64_t at = firstElement(); at < g.count * g.batch * g.width; at += elementStep()) {
    const int64_t row = at / g.width, b = row % g.batch;
    const int64_t from = min(max<int64_t>(g.index[row], 0), g.length - 1);
    g.y[at] = g.x[(b * g.length + from) * g.width + at % g.width];
  }
}

}  // namespace

cudaError_t gatherRows(const GatherRowsArguments& g, const Launcher& launcher) {
  return launch(launcher, gatherRowsKernel, dim3(elementBlocks(g.count * g.batch * g.width, launcher)),
                dim3(elementThreads), 0, g);
}

}  // namespace onehead::cuda
