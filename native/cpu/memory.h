// Host memory of the CPU backend: aligned, zeroed, counted, on huge pages where it is large.
#pragma once

#include <cstddef>
#include <memory>

#include "../core/memory_counter.h"

namespace onehead::cpu {

/** Memory of zeros, aligned to a page when large, to a cache line otherwise. */
class Buffer {
 public:
  Buffer() = default;
  /** Throws Error OUT_OF_MEMORY. */
  Buffer(size_t bytes, std::shared_ptr<MemoryCounter> counter);
  ~Buffer() { reset(); }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  explicit operator bool() const { return data_ != nullptr; }
  void reset();

 private:
  void swap(Buffer& other) noexcept;

  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  std::shared_ptr<MemoryCounter> counter_;
};

}  // namespace onehead::cpu
