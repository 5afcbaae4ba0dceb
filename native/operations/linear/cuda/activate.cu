// Applies an activation in place, after a product of cuBLASLt, which has no erf GELU.
//
// Shapes   y, any number of elements
// Launch   256 threads, each with two 16-byte vectors in flight per iteration; no shared memory
// Bytes    y is read and written once
// Work     for half types GELU's error function is approximated (geluFast in numeric.h)
//
// History
//   Measured on an H200 at commit 1dabc91: GELU of an encoder layer (1,500 x 5,120 float16) 12.7 us of the layer's 226
//   at batch 1. Its 31 MB take 7.9 us at the measured 3.9 TB/s. product.cu would do it in its epilogue, but cuBLASLt is
//   faster by more than 12.7 us (the up product takes 31 us, at 580 to 634 TFLOP/s).
//   Changed since, never measured alone: the error function is approximated for half types, since its instructions
//   took 6.5 of the 12.7 us (calculated); then 20% fewer of them, and two vectors in flight instead of one. Predicted,
//   not measured: about 9 us.
#include "cuda/kernels/elements.h"

namespace onehead::cuda {

namespace {

template <class T>
__device__ inline float activateAs(float x, Activation activation) {
  if constexpr (std::is_same_v<T, float>) return activate(x, activation);
  return activation == Activation::gelu ? geluFast(x) : x;
}

/** Each thread has `Vectors` vectors in flight. */
template <class T, int Vectors>
__global__ void __launch_bounds__(elementThreads) activateKernel(T* y, int64_t elements, Activation activation) {
  constexpr int vector = vectorSize<T>;
  letNextKernelStart();
  waitForPreviousKernel();
  const int64_t vectors = elements / vector, step = elementStep();
  uint4* const all = reinterpret_cast<uint4*>(y);
  for (int64_t first = firstElement(); first < vectors; first += Vectors * step) {
    uint4 raw[Vectors];
#pragma unroll
    for (int i = 0; i < Vectors; ++i)
      if (first + i * step < vectors) raw[i] = all[first + i * step];
#pragma unroll
    for (int i = 0; i < Vectors; ++i) {
      if (first + i * step >= vectors) break;
      float values[vector];
      unpack<T>(raw[i], values);
#pragma unroll
      for (int k = 0; k < vector; ++k) values[k] = activateAs<T>(values[k], activation);
      all[first + i * step] = pack<T>(values);
    }
  }
  const int64_t rest = vectors * vector + firstElement();
  if (rest < elements) y[rest] = fromFloat<T>(activateAs<T>(toFloat(y[rest]), activation));
}

}  // namespace

cudaError_t activateInPlace(void* y, DType type, int64_t elements, Activation activation, const Launcher& launcher) {
  return withType(type, [&](auto element) {
    using T = decltype(element);
    auto start = [&](auto kernel, int vectors) {
      return launch(launcher, kernel, dim3(elementBlocks(elements / (vectors * vectorSize<T>)+1, launcher)),
                    dim3(elementThreads), 0, static_cast<T*>(y), elements, activation);
    };
    return launcher.wideActivation ? start(activateKernel<T, 2>, 2) : start(activateKernel<T, 1>, 1);
  });
}

}  // namespace onehead::cuda
