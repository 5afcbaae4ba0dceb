// Applies an activation in place, after a product of cuBLASLt, which has no erf GELU.
//
// Shapes   y, any number of elements
// Launch   one 16-byte vector per thread and iteration (see elements.h); no shared memory
// Bytes    y is read and written once
//
// History
//   Measured on an H200 at commit 1dabc91: GELU of an encoder layer (1,500 x 5,120 float16) 12.7 us of the layer's 226
//   at batch 1. Its 31 MB take 7.9 us at the measured 3.9 TB/s. product.cu would do it in its epilogue, but cuBLASLt is
//   faster by more than 12.7 us (the up product takes 31 us, at 580 to 634 TFLOP/s).
//   Changed since, never measured alone: the error function is approximated for half types, since its instructions
//   took 6.5 of the 12.7 us (calculated).
#include "cuda/kernels/elements.h"

namespace onehead::cuda {

namespace {

template <class T>
__device__ inline float activateAs(float x, Activation activation) {
  if constexpr (std::is_same_v<T, float>) return activate(x, activation);
  return activation == Activation::gelu ? geluFast(x) : x;
}

template <class T>
__global__ void activateKernel(T* y, int64_t elements, Activation activation) {
  constexpr int vector = vectorSize<T>;
  letNextKernelStart();
  waitForPreviousKernel();
  const int64_t vectors = elements / vector;
  for (int64_t at = firstElement(); at < vectors; at += elementStep()) {
    float values[vector];
    auto* address = reinterpret_cast<uint4*>(y) + at;
    unpack<T>(*address, values);
#pragma unroll
    for (int i = 0; i < vector; ++i) values[i] = activateAs<T>(values[i], activation);
    *address = pack<T>(values);
  }
  const int64_t rest = vectors * vector + firstElement();
  if (rest < elements) y[rest] = fromFloat<T>(activateAs<T>(toFloat(y[rest]), activation));
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
