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

/** Memory that programs of one device share, since they run one after another. What a program has taken stays where it
 * is while that program lives; a program that needs more gets a larger one, which those after it take too. */
class SharedBuffer {
 public:
  explicit SharedBuffer(std::shared_ptr<MemoryCounter> counter) : counter_(std::move(counter)) {}
  std::shared_ptr<Buffer> atLeast(size_t bytes) {
    if (!buffer_ || bytes > buffer_->bytes()) {
      if (buffer_.use_count() == 1) buffer_.reset();  // before there is a second one
      buffer_ = std::make_shared<Buffer>(bytes, counter_);
    }
    return buffer_;
  }

 private:
  std::shared_ptr<MemoryCounter> counter_;
  std::shared_ptr<Buffer> buffer_;
};

}  // namespace onehead::cpu
