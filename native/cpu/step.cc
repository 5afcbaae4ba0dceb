#include "step.h"

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
    generation_.notify_all();
    return;
  }
  // Where others use the cores too, the thread we wait for may need this one: sleep after a while. Spinning on instead
  // made a shared machine many times slower; the wake-up costs a free one 3% of a decode step.
  for (int spins = 0; generation_.load(std::memory_order_acquire) == generation; ++spins) {
    if (spins > 2000) {
      generation_.wait(generation, std::memory_order_acquire);
    } else {
#if defined(__x86_64__)
      _mm_pause();
#endif
    }
  }
}

}  // namespace onehead::cpu
