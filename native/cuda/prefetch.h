// Which launches of a program load weights of later ones into the L2 cache.
//
// A decode step of few rows is a chain of kernels. Each loads its weights into shared memory while the kernel before it
// runs, so the memory has the time of one kernel for them. Most kernels read less than it delivers in that time and
// wait for latencies; a few read more, and wait for memory. So kernels that read little prefetch a part of what the
// large ones read.
//
// Predicted for an H200 from the figures of docs/performance.md (large-v3, float16, batch 1), not measured: the second
// product of the feed-forward network 4.8 -> 3.8 us, the first 5.1 -> 3.6, query, key and value 3.8 -> 3.0, so a step
// 937 -> 830 us. No effect where kernels take longer than their weights: from 8 rows on.
#pragma once

#include <vector>

#include "../core/kinds.h"

namespace onehead::cuda {

/** What a launch reads from memory. */
struct Reads {
  int64_t bytes = 0;
  /** The bytes, if they are contiguous, aligned to 16 bytes, and no kernel of the program writes them. */
  const void* constant = nullptr;
  /** The kernel can prefetch for later ones. */
  bool prefetches = false;
};

/** What each launch prefetches, on a device with an L2 cache of `cacheBytes`. */
std::vector<Prefetch> planPrefetches(const std::vector<Reads>& launches, int64_t cacheBytes);

}  // namespace onehead::cuda
