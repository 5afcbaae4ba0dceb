// Permutes a convolution's weight to the layout that product.cu takes, if the weight may change between replays.
//
// Shapes  x [outputs, channels, kernel] -> y [outputs, kernel, channels], elements of 2 or 4 bytes
// Launch  one element per thread and iteration (see elements.h); no shared memory
// Bytes   each element is read and written once
//
// History
//   Passed its tests on an H200 (commit 1dabc91); its time was never measured. An empty kernel in a graph took 0.52 us
//   there (dependent launch, 132 blocks), 1.57 with 1,056 blocks.
#include "cuda/kernels/elements.h"

namespace onehead::cuda {

namespace {

template <class Element>
__global__ void permuteKernel(const __grid_constant__ PermuteArguments p) {
  letNextKernelStart();
  waitForPreviousKernel();
  const int64_t perOutput = p.channels * p.kernel;
  for (int64_t at = firstElement(); at < p.outputs * perOutput; at += elementStep()) {
    const int64_t output = at / perOutput, k = at % perOutput / p.channels, channel = at % p.channels;
    static_cast<Element*>(p.y)[at] = static_cast<const Element*>(p.x)[output * perOutput + channel * p.kernel + k];
  }
}

}  // namespace

cudaError_t permute(const PermuteArguments& p, const Launcher& launcher) {
  const dim3 blocks(elementBlocks(p.outputs * p.channels * p.kernel, launcher));
  return p.elementBytes == 2 ? launch(launcher, permuteKernel<uint16_t>, blocks, dim3(elementThreads), 0, p)
                             : launch(launcher, permuteKernel<uint32_t>, blocks, dim3(elementThreads), 0, p);
}

}  // namespace onehead::cuda
