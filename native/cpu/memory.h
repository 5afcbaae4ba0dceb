// Host memory of the CPU backend: aligned, zeroed, counted, on huge pages where it is large.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include "../core/backend.h"

namespace onehead::cpu {

/** Bytes in use and their highest value, shared by all of a backend's buffers. */
class MemoryCounter {
 public:
  void add(size_t bytes);
  void subtract(size_t bytes) { inUse_ -= bytes; }
  MemoryFigures figures() const { return {inUse_, peak_}; }

 private:
  std::atomic<size_t> inUse_ = 0, peak_ = 0;
};

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
