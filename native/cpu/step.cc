#include "step.h"

#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace onehead::cpu {

void Barrier::wait(int threads) {
  if (threads == 1) return;
  int generation = generation_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.store(generation + 1, std::memory_order_release);
    return;
  }
  // With more threads than cores the one we wait for may need this core: give it up after a while.
  for (int spins = 0; generation_.load(std::memory_order_acquire) == generation; ++spins) {
    if (spins > 20000) {
      std::this_thread::yield();
    } else {
#if defined(__x86_64__)
      _mm_pause();
#endif
    }
  }
}

}  // namespace onehead::cpu
