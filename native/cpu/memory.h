// Host memory of the CPU backend: aligned, zeroed, counted.
#pragma once

#include <cstddef>
#include <memory>

#include "../core/memory_counter.h"

namespace onehead::cpu {

/** The pages of large memory. A huge page takes 2 MiB at the first byte that is written, a small one 4 KiB. */
enum class Pages { huge, small };

/** Zeroed memory, aligned to a page if large, otherwise to a cache line. */
class Buffer {
 public:
  Buffer() = default;
  /** Throws Error OUT_OF_MEMORY. */
  Buffer(size_t bytes, std::shared_ptr<MemoryCounter> counter, Pages pages = Pages::huge);
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

/** Memory that the programs of a device share, since they run one after another. A program keeps the buffer that it
 * got. If a program needs more, it gets a larger buffer, which later programs get too. */
class SharedBuffer {
 public:
  explicit SharedBuffer(std::shared_ptr<MemoryCounter> counter) : counter_(std::move(counter)) {}
  std::shared_ptr<Buffer> atLeast(size_t bytes) {
    if (!buffer_ || bytes > buffer_->bytes()) {
      if (buffer_.use_count() == 1) buffer_.reset();  // free it before allocating the next
      buffer_ = std::make_shared<Buffer>(bytes, counter_);
    }
    return buffer_;
  }

 private:
  std::shared_ptr<MemoryCounter> counter_;
  std::shared_ptr<Buffer> buffer_;
};

}  // namespace onehead::cpu
