// Writes rows to chosen positions of a tensor: see ScatterRows in ../operation.h.
//
// Shapes  x [batch, rows, width], begin [batch] -> y [positions, width]
// Launch  one element per thread and iteration (see elements.h); no shared memory
// Bytes   each element is read and written once
//
// History
//   Never measured on a GPU.
#include "cuda/kernels/elements.h"

namespace onehead::cuda {

namespace {

/** Widths and strides count Elements. With float, elements are converted from x's type to y's; others are copied. */
template <class Element>
__global__ void scatterRowsKernel(const __grid_constant__ ScatterRowsArguments s) {
  letNextKernelStart();
  waitForPreviousKernel();
  for (int64_t at = firstElement(); at < s.batch * s.rows * s.width; at += elementStep()) {
    const int64_t row = at / s.width, column = at % s.width, begin = s.begin[row / s.rows], to = begin + row % s.rows;
    if (begin < 0 || to >= s.positions) continue;
    if constexpr (std::is_same_v<Element, float>)
      storeAs(s.y, s.yType, to * s.width + column, loadAs(s.x, s.xType, row * s.stride + column));
    else
      static_cast<Element*>(s.y)[to * s.width + column] = static_cast<const Element*>(s.x)[row * s.stride + column];
  }
}

}  // namespace

cudaError_t scatterRows(const ScatterRowsArguments& s, const Launcher& launcher) {
  const int64_t bytes = int64_t(bytesOf(s.xType));
  auto start = [&](auto element, int64_t elementBytes) {
    ScatterRowsArguments counted = s;
    counted.width = s.width * bytes / elementBytes;
    counted.stride = s.stride * bytes / elementBytes;
    return launch(launcher, scatterRowsKernel<decltype(element)>,
                  dim3(elementBlocks(s.batch * s.rows * counted.width, launcher)), dim3(elementThreads), 0, counted);
  };
  if (s.xType != s.yType) return start(float{}, bytes);
  if (aligned16(s.x) && aligned16(s.y) && s.width * bytes % 16 == 0 && s.stride * bytes % 16 == 0)
    return start(uint4{}, 16);
  return bytes % 2 == 0 ? start(uint16_t{}, 2) : start(uint8_t{}, 1);
}

}  // namespace onehead::cuda
