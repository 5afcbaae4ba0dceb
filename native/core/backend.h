// The interface between the core and a backend (CPU, CUDA). All is called on the device's thread, unless stated.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "capabilities.h"
#include "error.h"
#include "program.h"
#include "source.h"

namespace onehead {

/** Which flags end a run: all of them; any; or one more than were set when the run began. */
enum class Until { all, any, another };

struct RunOptions {
  int64_t times = 1;
  /** int32 flags that end the run early. Null storage: never. */
  Tensor until;
  Until when = Until::all;
  /** With `another`: the run also ends (or does not start) if this many flags are set. */
  int64_t enough = 0;
  /** Set from another thread: the run ends early after a whole replay; this is not an error. */
  std::shared_ptr<std::atomic<bool>> stop;

  bool stopped() const { return stop && *stop; }
  /** Whether the run ends if `set` of `flags` are set, and `before` were set when it began. */
  bool ends(int64_t set, int64_t before, int64_t flags) const {
    if (when == Until::all) return set == flags;
    return when == Until::any ? set > 0 : set > before || set >= enough;
  }
  /** Measures the time of each operation, summed over the run. */
  bool trace = false;
};

struct RunResult {
  /** A stage of an operation that the backend can time separately, such as attention's 'scores'. */
  struct Part {
    size_t operation;
    std::string name;
    double microseconds;
  };
  int64_t times = 0;                 // replays
  double elapsed = 0;                // microseconds of all replays on the device's clock; 0 if not measured
  std::vector<double> microseconds;  // of each operation, if traced
  std::vector<Part> parts;           // in order, if traced
};

/** A prepared program. */
class Executable {
 public:
  virtual ~Executable() = default;
  /** Replays the program. Once `cancelled` is set, it stops between replays at the latest. */
  virtual RunResult run(const RunOptions& options, const std::atomic<bool>& cancelled) = 0;
};

struct MemoryFigures {
  size_t inUse = 0, peak = 0;  // bytes
  size_t allocations = 0;      // since the device was opened
  /** Bytes of the device's memory that were free when it was opened, less those in use; absent if the device uses the
   * host's memory. */
  std::optional<size_t> available;
};

/** Does not initialize elements that are given no value: for buffers that are overwritten at once. Large ones are
 * mapped, so that they are returned to the system: after the first, malloc would keep as much unused memory as two of
 * them. */
template <class T>
struct UnfilledAllocator : std::allocator<T> {
  static constexpr size_t mappedBytes = size_t(1) << 18;

  T* allocate(size_t count) {
    if (count * sizeof(T) < mappedBytes) return std::allocator<T>::allocate(count);
    void* mapped = ::mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    return static_cast<T*>(mapped);
  }
  void deallocate(T* begin, size_t count) {
    if (count * sizeof(T) < mappedBytes) return std::allocator<T>::deallocate(begin, count);
    ::munmap(static_cast<void*>(begin), count * sizeof(T));
  }
  template <class Other>
  struct rebind {
    using other = UnfilledAllocator<Other>;
  };
  template <class U>
  void construct(U* place) noexcept {
    ::new (static_cast<void*>(place)) U;
  }
};
using Bytes = std::vector<std::byte, UnfilledAllocator<std::byte>>;

/** A range of a tensor's memory that a transfer writes or reads, and its contents. */
struct Piece {
  std::shared_ptr<Storage> storage;
  size_t offset = 0;  // bytes
  Bytes bytes;
};

class Backend {
 public:
  virtual ~Backend() = default;
  /** Constant; callable on any thread. */
  virtual Capabilities capabilities() const = 0;
  /** Called once on the device's thread before anything else. */
  virtual void start() {}
  /** Memory filled with zeros. Callable on any thread. Throws Error OUT_OF_MEMORY. */
  virtual std::shared_ptr<Storage> allocate(size_t bytes) = 0;
  /** Loads a constant. The backend may keep the source, and choose a layout when a program needs it. */
  virtual std::shared_ptr<Storage> load(Source source, DType dtype, const Shape& shape) = 0;
  /** An int8 weight of a product. */
  struct Quantized {
    std::shared_ptr<Storage> data, scales;  // int8 [rows, columns], float32 [rows]
    /** Rounding error relative to typical elements, root mean square over rows; 0: nothing was rounded. */
    double error = 0;
  };
  /** Quantizes a two-dimensional weight, with a scale for each row (largest magnitude / 127), or takes the int8
   * elements that the source has. Throws Error NOT_SUPPORTED if the backend has no int8 products. */
  virtual Quantized quantize(Source, const Shape&) {
    throw Error("NOT_SUPPORTED", "This device does not support int8 weights; load the model with another dtype.");
  }
  virtual void write(Storage& to, size_t offset, const void* from, size_t bytes) = 0;
  virtual void read(Storage& from, size_t offset, void* to, size_t bytes) = 0;
  /** Performs all writes in order, then all reads. */
  virtual void transfer(const std::vector<Piece>& writes, std::vector<Piece>& reads) {
    for (const Piece& piece : writes)
      if (!piece.bytes.empty()) write(*piece.storage, piece.offset, piece.bytes.data(), piece.bytes.size());
    for (Piece& piece : reads)
      if (!piece.bytes.empty()) read(*piece.storage, piece.offset, piece.bytes.data(), piece.bytes.size());
  }
  virtual void copy(Storage& from, size_t fromOffset, Storage& to, size_t toOffset, size_t bytes) = 0;
  /** Makes a recorded program ready to run. Throws Error OUT_OF_MEMORY. */
  virtual std::unique_ptr<Executable> prepare(Plan plan) = 0;
  virtual MemoryFigures memory() const = 0;
  /** Called once on the device's thread after everything else. Frees the device's memory, even if tensors and programs
   * still exist; these are not used any more. */
  virtual void close() noexcept {}
};

}  // namespace onehead
