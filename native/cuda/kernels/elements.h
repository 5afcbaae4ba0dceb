// For kernels in which each thread processes independent elements, with any number of blocks. They are bound by the
// bytes that they read and write once.
#pragma once

#include "numeric.h"

namespace onehead::cuda {

constexpr int elementThreads = 256;
/** The most blocks per multiprocessor: twice what fills its 2,048 threads; beyond that each thread processes several
 * elements. Not tuned on a GPU, since launch and bytes determine the time of these kernels. */
constexpr int elementBlocksPerMultiprocessor = 16;

inline unsigned elementBlocks(int64_t elements, const Launcher& launcher) {
  return unsigned(max<int64_t>(1, min<int64_t>(divideUp<int64_t>(elements, elementThreads),
                                               launcher.multiprocessors * elementBlocksPerMultiprocessor)));
}
__device__ inline int64_t firstElement() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t elementStep() { return int64_t(gridDim.x) * blockDim.x; }

}  // namespace onehead::cuda
