// Copies of whole tensors, and of rows with other strides and types.
//
// Shapes  x [rows, width] -> y, at the addresses that two Steppings give; or `bytes` bytes
// Launch  one element or 16-byte vector per thread and iteration (see elements.h); no shared memory
// Bytes   each element is read and written once
//
// History
//   Passed its tests on an H200 (commit 1dabc91); its time was never measured. An empty kernel in a graph took 0.52 us
//   there (dependent launch, 132 blocks), 1.57 with 1,056 blocks.
#include "cuda/kernels/elements.h"

namespace onehead::cuda {

namespace {

__global__ void copyRowsKernel(const __grid_constant__ CopyRowsArguments c) {
  letNextKernelStart();
  waitForPreviousKernel();
  for (int64_t at = firstElement(); at < c.rows * c.width; at += elementStep()) {
    const int64_t row = at / c.width, column = at % c.width;
    int64_t to = offsetOf(c.yRows, row) + column;
    if (c.start) {
      const int64_t first = max(c.start[row / c.startInner], 0);
      if (first + row % c.startInner >= c.startRows) continue;
      to += first * c.startStride;
    }
    storeAs(c.y, c.yType, to, loadAs(c.x, c.xType, offsetOf(c.xRows, row) + column));
  }
}

__global__ void copyBytesKernel(uint8_t* to, const uint8_t* from, size_t bytes, bool aligned) {
  letNextKernelStart();
  waitForPreviousKernel();
  const int64_t vectors = aligned ? int64_t(bytes / 16) : 0;
  for (int64_t at = firstElement(); at < vectors; at += elementStep())
    reinterpret_cast<uint4*>(to)[at] = reinterpret_cast<const uint4*>(from)[at];
  for (int64_t at = vectors * 16 + firstElement(); at < int64_t(bytes); at += elementStep()) to[at] = from[at];
}

}  // namespace

cudaError_t copyRows(const CopyRowsArguments& c, const Launcher& launcher) {
  return launch(launcher, copyRowsKernel, dim3(elementBlocks(c.rows * c.width, launcher)), dim3(elementThreads), 0, c);
}

cudaError_t copyBytes(void* to, const void* from, size_t bytes, const Launcher& launcher) {
  const bool aligned = aligned16(to) && aligned16(from);
  return launch(launcher, copyBytesKernel, dim3(elementBlocks(int64_t(bytes / 16 + 1), launcher)), dim3(elementThreads),
                0, static_cast<uint8_t*>(to), static_cast<const uint8_t*>(from), bytes, aligned);
}

}  // namespace onehead::cuda
