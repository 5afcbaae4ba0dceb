// A GPU as one device uses it: its streams, memory pool and limits, and the conversion of failures to errors.
//
// Each job synchronizes the stream before it completes. So memory can be freed as soon as its last user is gone, and a
// failure belongs to the job that caused it.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "../core/memory_counter.h"
#include "cuda_backend.h"
#include "driver_lock.h"
#include "kernels/kernels.h"

namespace onehead::cuda {

/** An object that must be released before its device is closed. */
class Owned {
 public:
  /** Called at most once, when the device is closed, with the driver lock held. */
  virtual void release() noexcept = 0;

 protected:
  ~Owned() = default;
};

class Context {
 public:
  /** Throws Error DEVICE_UNAVAILABLE. */
  explicit Context(const CudaOptions& options);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  /** Makes this the calling thread's device. */
  void use() const { cudaSetDevice(index_); }
  const Launcher& launcher() const { return launcher_; }
  cudaStream_t stream() const { return launcher_.stream; }
  MemoryCounter& counter() { return counter_; }
  /** Bytes of the GPU's memory that were free when the device was opened. */
  size_t freeAtFirst() const { return freeAtFirst_; }

  /** Throws Error OUT_OF_MEMORY or DEVICE_FAILED if the call failed. `doing` completes "failed while ...". */
  void check(cudaError_t error, const std::string& doing) const;
  /** Throws Error DEVICE_FAILED with this reason. */
  [[noreturn]] void fail(const std::string& doing, const std::string& reason) const;
  /** Waits until the stream is idle. */
  void synchronize(const std::string& doing) const { check(cudaStreamSynchronize(stream()), doing); }

  /** Zeroed memory; callable on any thread. Throws Error OUT_OF_MEMORY. */
  void* allocate(size_t bytes);
  void free(void* memory) noexcept;

  void own(Owned* owned);
  void disown(Owned* owned) noexcept;
  /** Frees everything: streams, pool, pinned memory, registered objects, and memory that tensors still hold, which are
   * not used any more. Idempotent. */
  void close() noexcept;

  /** Host memory that the device can access. */
  template <class T>
  struct Mapped {
    T* host = nullptr;
    T* device = nullptr;
  };
  /** Two pinned buffers for transfers, `pieceBytes` each, allocated on first use. */
  static constexpr size_t pieceBytes = size_t(4) << 20;
  const Mapped<std::byte>& piece(int i);
  /** Where programs report their progress; allocated on first use. */
  const Mapped<Progress>& progress();

 private:
  /** Allocates nothing. The public constructor delegates to it, so its destructor runs even if that one throws. */
  explicit Context(int index) : index_(index) {}
  [[noreturn]] void outOfMemory(size_t bytes) const;
  template <class T>
  const Mapped<T>& map(Mapped<T>& mapped, size_t bytes);

  int index_;
  Launcher launcher_;
  cudaStream_t allocations_ = nullptr;  // separate, so that allocations of other threads are never captured
  cudaMemPool_t pool_ = nullptr;
  Mapped<std::byte> pieces_[2];
  Mapped<Progress> progress_;
  std::unordered_map<void*, size_t> allocated_;  // bytes of each allocation
  std::unordered_set<Owned*> owned_;
  bool closed_ = false;
  MemoryCounter counter_;
  size_t freeAtFirst_ = 0;
};

/** Zeroed device memory. */
class Buffer {
 public:
  Buffer() = default;
  /** Throws Error OUT_OF_MEMORY. */
  Buffer(size_t bytes, std::shared_ptr<Context> context);
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
  std::shared_ptr<Context> context_;
};

/** Memory that the programs of a device share, since they run one after another. A program keeps the buffer that it
 * got. If a program needs more, it gets a larger buffer, which later programs get too. */
class SharedBuffer {
 public:
  explicit SharedBuffer(std::shared_ptr<Context> context) : context_(std::move(context)) {}
  /** Throws Error OUT_OF_MEMORY; buffers that programs hold are unaffected. */
  std::shared_ptr<Buffer> atLeast(size_t bytes);

 private:
  std::shared_ptr<Context> context_;
  std::shared_ptr<Buffer> buffer_;
};

/** CUDA events, destroyed with their owner. */
class Events {
 public:
  /** Throws Error DEVICE_FAILED. */
  Events(Context& context, size_t count, unsigned flags);
  ~Events() { release(); }
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;
  cudaEvent_t operator[](size_t i) const { return handles_[i]; }
  size_t size() const { return handles_.size(); }
  void release() noexcept;

 private:
  std::vector<cudaEvent_t> handles_;
};

}  // namespace onehead::cuda
