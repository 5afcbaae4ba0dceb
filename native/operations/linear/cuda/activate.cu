// An activation behind a product of cuBLASLt's that could not do it itself.
//
// History
//   H200, commit 1dabc91: GELU of an encoder's layer, 1,500 x 5,120 halves, 12.7 us of the layer's 226 at batch 1. 31
//   MB read and written at the 3.9 TB/s measured are 7.9. A product of ours does it in its epilogue; cuBLASLt's are
//   faster by more than this costs (up 31 us, 580 to 634 TFLOP/s).
#include "cuda/kernels/elements.h"

namespace onehead::cuda {

namespace {

template <class T>
__global__ void activateKernel(T* y, int64_t elements, Activation activation) {
  constexpr int vector = vectorSize<T>;
  letNextKernelStart();
  waitForPreviousKernel();
  const int64_t vectors = elements / vector;
  for (int64_t at = firstElement(); at < vectors; at += elementStep()) {
    float values[vector];
    auto* place = reinterpret_cast<uint4*>(y) + at;
    unpack<T>(*place, values);
#pragma unroll
    for (int i = 0; i < vector; ++i) values[i] = activate(values[i], activation);
    *place = pack<T>(values);
  }
  const int64_t rest = vectors * vector + firstElement();
  if (rest < elements) y[rest] = fromFloat<T>(activate(toFloat(y[rest]), activation));
}

}  // namespace

cudaError_t activateInPlace(void* y, DType type, int64_t elements, Activation activation, const Launcher& launcher) {
  return withType(type, [&](auto element) {
    using T = decltype(element);
    return launch(launcher, activateKernel<T>, dim3(elementBlocks(elements / vectorSize<T> + 1, launcher)),
                  dim3(elementThreads), 0, static_cast<T*>(y), elements, activation);
  });
}

}  // namespace onehead::cuda
