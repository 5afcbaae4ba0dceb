// For kernels that take one element after another, whatever the number of blocks: bound by the bytes that they read and
// write once.
#pragma once

#include "numeric.h"

namespace onehead::cuda {

constexpr int elementThreads = 256;
/** Blocks of a multiprocessor at most: two fills of its 2,048 threads, since each takes several elements a thread from
 * there on. Chosen, not tuned on a card: these kernels are a launch and their bytes. */
constexpr int elementBlocksPerMultiprocessor = 16;

inline unsigned elementBlocks(int64_t elements, const Launcher& launcher) {
  return unsigned(larger<int64_t>(1, smaller<int64_t>(divideUp<int64_t>(elements, elementThreads),
                                                      launcher.multiprocessors * elementBlocksPerMultiprocessor)));
}
__device__ inline int64_t firstElement() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t elementStep() { return int64_t(gridDim.x) * blockDim.x; }

}  // namespace onehead::cuda
