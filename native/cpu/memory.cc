#include "memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "../core/error.h"

namespace onehead::cpu {

namespace {

constexpr size_t hugePage = size_t(2) << 20;
/** From this size on, memory is mapped: it is zero, takes nothing until it is written, and is returned to the system as
 * soon as it is freed. */
constexpr size_t largeBytes = size_t(1) << 16;

[[noreturn]] void outOfMemory(size_t bytes) {
  throw Error("OUT_OF_MEMORY", "The CPU device could not allocate " + std::to_string(bytes >> 20) +
                                   " MiB of memory; use a smaller model, a smaller batch or dtype 'bfloat16'.");
}

}  // namespace

Buffer::Buffer(size_t bytes, std::shared_ptr<MemoryCounter> counter, Pages pages)
    : bytes_(bytes), counter_(std::move(counter)) {
  if (bytes == 0) return;
  if (bytes >= largeBytes) {
    void* mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) outOfMemory(bytes);
    // Huge pages for what is read as a whole: a decode step reads all weights, and each 4 KiB page would cost a page
    // walk.
    if (bytes >= hugePage && pages == Pages::huge) ::madvise(mapped, bytes, MADV_HUGEPAGE);
    data_ = static_cast<std::byte*>(mapped);
  } else {
    const size_t rounded = aligned(bytes);
    data_ = static_cast<std::byte*>(std::aligned_alloc(tensorAlignment, rounded));
    if (!data_) outOfMemory(bytes);
    std::memset(data_, 0, rounded);
  }
  counter_->add(bytes_);
}

void Buffer::reset() {
  if (!data_) return;
  if (bytes_ >= largeBytes)
    ::munmap(data_, bytes_);
  else
    std::free(data_);
  counter_->subtract(bytes_);
  data_ = nullptr;
  bytes_ = 0;
}

void Buffer::swap(Buffer& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(counter_, other.counter_);
}

}  // namespace onehead::cpu
