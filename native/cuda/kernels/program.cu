// Kernels of programs besides operations: filling memory, and counting replays for the host.
//
// Launch  fillBytes: one word per thread and iteration (see elements.h); publish: one warp
// Bytes   the filled memory; the flags, one per sequence
//
// History
//   Passed its tests on an H200 (commit 1dabc91); its time was never measured. An empty kernel in a graph took 0.52 us
//   there (dependent launch, 132 blocks), 1.57 with 1,056 blocks.
#include "cuda/kernels/elements.h"

namespace onehead::cuda {

namespace {

__global__ void fillKernel(uint8_t* memory, size_t bytes, uint8_t value) {
  letNextKernelStart();
  waitForPreviousKernel();
  const uint32_t word = value * 0x01010101u;
  const int64_t words = int64_t(bytes / 4);
  for (int64_t at = firstElement(); at < words; at += elementStep()) reinterpret_cast<uint32_t*>(memory)[at] = word;
  if (firstElement() < int64_t(bytes % 4)) memory[words * 4 + firstElement()] = value;
}

__global__ void publishKernel(Progress* progress, const int32_t* flags, int64_t count, bool any) {
  letNextKernelStart();
  waitForPreviousKernel();
  float set = 0;
  for (int64_t i = threadIdx.x; i < count; i += 32) set += flags[i] == 0 ? 0.0f : 1.0f;
  set = warpSum(set);
  if (threadIdx.x != 0) return;
  const int64_t replays = progress->replays + 1;
  const int64_t ended = progress->endedAt;
  if (count > 0 && ended <= 0 && set >= float(any ? 1 - ended : count)) progress->endedAt = replays;
  __threadfence_system();  // endedAt becomes visible before the new count
  progress->replays = replays;
  __threadfence_system();
}

}  // namespace

cudaError_t fillBytes(void* memory, size_t bytes, uint8_t value, const Launcher& launcher) {
  return launch(launcher, fillKernel, dim3(elementBlocks(int64_t(bytes / 4 + 4), launcher)), dim3(elementThreads), 0,
                static_cast<uint8_t*>(memory), bytes, value);
}

cudaError_t publish(Progress* progress, const int32_t* flags, int64_t count, bool any, const Launcher& launcher) {
  return launch(launcher, publishKernel, dim3(1), dim3(32), 0, progress, flags, count, any);
}

}  // namespace onehead::cuda
