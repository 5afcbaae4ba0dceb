// Rows to chosen places of a tensor: see ScatterRows in ../operation.h.
//
// History
//   Never timed on a GPU.
#include "cuda/kernels/elements.h"

namespace onehead::cuda {

namespace {

/** Elements of a size, widths and strides being counted in these; float: converted from one type to the other. */
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
