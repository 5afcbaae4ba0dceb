// Waiting until all blocks of a cluster have started, as they must before others store to their shared memory.
#pragma once

#include "platform.h"

namespace onehead::cuda {

/** Says that this thread has started: the first part of a cluster barrier that orders no memory, so it waits for
 * nothing. clusterWait is the second part, and what a kernel does between them hides the barrier. */
__device__ inline void startInCluster() {
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#endif
}

}  // namespace onehead::cuda
