// One GPU as this process uses it: its streams, its memory pool, its limits, and how failures become errors.
//
// Every piece of work for the device ends with an idle stream. So memory may be freed whenever its last user goes, and
// what a failure hit is known.
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

/** What goes with its device at the latest. */
class Owned {
 public:
  /** Called at most once, when the device is closed, with the driver's lock held. */
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
  /** Bytes of the GPU that nobody had taken when the device was opened. */
  size_t freeAtFirst() const { return freeAtFirst_; }

  /** Throws Error OUT_OF_MEMORY or DEVICE_FAILED unless the call succeeded. */
  void check(cudaError_t error, const std::string& doing) const;
  /** Throws Error DEVICE_FAILED with a reason in words. */
  [[noreturn]] void fail(const std::string& doing, const std::string& reason) const;
  /** Waits until the stream is idle. */
  void synchronize(const std::string& doing) const { check(cudaStreamSynchronize(stream()), doing); }

  /** Memory of zeros, from any thread. Throws Error OUT_OF_MEMORY. */
  void* allocate(size_t bytes);
  void free(void* memory) noexcept;

  void own(Owned* owned);
  void disown(Owned* owned) noexcept;
  /** Frees everything: streams, pool, pinned memory, what is owned, and the memory of tensors that are still there,
   * which are never used again. Idempotent. */
  void close() noexcept;

  /** Host memory that the device reads and writes too. */
  template <class T>
  struct Mapped {
    T* host = nullptr;
    T* device = nullptr;
  };
  /** Two pieces for transfers, `pieceBytes` each. Made when first asked for. */
  static constexpr size_t pieceBytes = size_t(4) << 20;
  const Mapped<std::byte>& piece(int i);
  /** Where programs report. Made when first asked for. */
  const Mapped<Progress>& progress();

 private:
  /** Owns nothing yet; what the public constructor makes behind it is freed even when that one throws. */
  explicit Context(int index) : index_(index) {}
  [[noreturn]] void outOfMemory(size_t bytes) const;
  template <class T>
  const Mapped<T>& map(Mapped<T>& mapped, size_t bytes);

  int index_;
  Launcher launcher_;
  cudaStream_t allocations_ = nullptr;  // apart, so that another thread's allocation is never captured in a graph
  cudaMemPool_t pool_ = nullptr;
  Mapped<std::byte> pieces_[2];
  Mapped<Progress> progress_;
  std::unordered_map<void*, size_t> allocated_;  // bytes of each
  std::unordered_set<Owned*> owned_;
  bool closed_ = false;
  MemoryCounter counter_;
  size_t freeAtFirst_ = 0;
};

/** Device memory of zeros. */
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

/** Memory that programs of one device share, since they run one after another. What a program has taken stays where it
 * is while that program lives; a program that needs more gets a larger one, which those after it take too. */
class SharedBuffer {
 public:
  explicit SharedBuffer(std::shared_ptr<Context> context) : context_(std::move(context)) {}
  /** Throws Error OUT_OF_MEMORY; what programs have taken stays. */
  std::shared_ptr<Buffer> atLeast(size_t bytes);

 private:
  std::shared_ptr<Context> context_;
  std::shared_ptr<Buffer> buffer_;
};

/** CUDA events that go with their owner. */
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
