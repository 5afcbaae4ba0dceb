// What a backend (CPU, CUDA) gives the core. All is called on the device's own thread, unless it says otherwise.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "capabilities.h"
#include "error.h"
#include "program.h"
#include "source.h"

namespace onehead {

/** Which of a run's flags end it: every one; one at least; or one more than were set when the run began. */
enum class Until { all, any, another };

struct RunOptions {
  int64_t times = 1;
  /** int32 flags that end the run early. Null storage: never. */
  Tensor until;
  Until when = Until::all;
  /** With `another`: nothing is run where so many are set already. */
  int64_t most = 0;
  /** Set from another thread: the run ends early, behind a whole replay, and that is no failure. */
  std::shared_ptr<std::atomic<bool>> stop;

  bool stopped() const { return stop && *stop; }
  /** Whether the run ends where `set` of `flags` are set, and `before` were when it began. */
  bool ends(int64_t set, int64_t before, int64_t flags) const {
    if (when == Until::all) return set == flags;
    return when == Until::any ? set > 0 : set > before || set >= most;
  }
  /** Sums each operation's time over the run. */
  bool trace = false;
};

struct RunResult {
  /** A stage of an operation whose stages the backend can tell apart: attention's 'scores'. */
  struct Part {
    size_t operation;
    std::string name;
    double microseconds;
  };
  int64_t times = 0;                 // replays done
  double elapsed = 0;                // microseconds of all replays on the device's clock; 0: not measured
  std::vector<double> microseconds;  // of each operation, when traced
  std::vector<Part> parts;           // in order, when traced
};

/** A prepared program. */
class Executable {
 public:
  virtual ~Executable() = default;
  /** Replays the program; stops between replays, at the latest, once `cancelled` is set. */
  virtual RunResult run(const RunOptions& options, const std::atomic<bool>& cancelled) = 0;
};

struct MemoryFigures {
  size_t inUse = 0, peak = 0;  // bytes
  size_t allocations = 0;      // since the device was opened
  /** Bytes of the device's own memory that were free when it was opened, less those in use; none where its memory is
   * the host's. */
  std::optional<size_t> available;
};

/** Leaves elements as they are found where none are given: what is written over at once need not be zeros first. */
template <class T>
struct UnfilledAllocator : std::allocator<T> {
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

/** A part of a tensor's memory that a transfer writes or reads, and its contents. */
struct Piece {
  std::shared_ptr<Storage> storage;
  size_t offset = 0;  // bytes
  Bytes bytes;
};

class Backend {
 public:
  virtual ~Backend() = default;
  /** The same at any time, on any thread. */
  virtual Capabilities capabilities() const = 0;
  /** Called once on the device's thread before anything else. */
  virtual void start() {}
  /** Memory of zeros. Callable on any thread. Throws Error OUT_OF_MEMORY. */
  virtual std::shared_ptr<Storage> allocate(size_t bytes) = 0;
  /** A constant: the backend may keep the source and lay the elements out as its programs want them. */
  virtual std::shared_ptr<Storage> load(Source source, DType dtype, const Shape& shape) = 0;
  /** A product's weight of 8 bits. */
  struct Quantized {
    std::shared_ptr<Storage> data, scales;  // int8 [rows, columns], float32 [rows]
    double error = 0;  // what rounding loses of usual elements, as root mean square over rows; 0: nothing was rounded
  };
  /** Quantizes a weight of two dimensions at once, or takes the whole numbers that its parts have, each row being under
   * one scale: the largest magnitude / 127. Throws Error NOT_SUPPORTED where the backend multiplies none. */
  virtual Quantized quantize(Source, const Shape&) {
    throw Error("NOT_SUPPORTED", "This device multiplies no weights of 8 bits yet; load the model with another dtype.");
  }
  virtual void write(Storage& to, size_t offset, const void* from, size_t bytes) = 0;
  virtual void read(Storage& from, size_t offset, void* to, size_t bytes) = 0;
  /** Writes all pieces of the one list, in order, then reads those of the other. */
  virtual void transfer(const std::vector<Piece>& writes, std::vector<Piece>& reads) {
    for (const Piece& piece : writes)
      if (!piece.bytes.empty()) write(*piece.storage, piece.offset, piece.bytes.data(), piece.bytes.size());
    for (Piece& piece : reads)
      if (!piece.bytes.empty()) read(*piece.storage, piece.offset, piece.bytes.data(), piece.bytes.size());
  }
  virtual void copy(Storage& from, size_t fromOffset, Storage& to, size_t toOffset, size_t bytes) = 0;
  /** Makes a program that was recorded for its capabilities ready to run. Throws Error OUT_OF_MEMORY. */
  virtual std::unique_ptr<Executable> prepare(Plan plan) = 0;
  virtual MemoryFigures memory() const = 0;
  /** Called once on the device's thread behind everything else: frees what the device holds, whatever tensors and
   * programs are left; they are never used again. */
  virtual void close() noexcept {}
};

}  // namespace onehead
