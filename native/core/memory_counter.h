// Bytes in use, their maximum, and the number of allocations, over all buffers of a backend.
#pragma once

#include <atomic>
#include <cstddef>

#include "backend.h"

namespace onehead {

class MemoryCounter {
 public:
  void add(size_t bytes) {
    ++allocations_;
    size_t now = inUse_ += bytes, highest = peak_;
    while (now > highest && !peak_.compare_exchange_weak(highest, now)) {
    }
  }
  void subtract(size_t bytes) { inUse_ -= bytes; }
  MemoryFigures figures() const { return {inUse_, peak_, allocations_, std::nullopt}; }

 private:
  std::atomic<size_t> inUse_ = 0, peak_ = 0, allocations_ = 0;
};

}  // namespace onehead
