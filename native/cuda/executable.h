// A prepared CUDA program: its launches, captured as a CUDA graph and replayed.
#pragma once

#include <functional>
#include <vector>

#include "context.h"
#include "prefetch.h"

namespace onehead::cuda {

/** Scratch memory that the kernels of all programs of a device share, since they run one after another. */
class Workspace {
 public:
  explicit Workspace(std::shared_ptr<Context> context) : context_(std::move(context)) {}
  /** Throws Error OUT_OF_MEMORY; then the previous memory is kept. */
  void atLeast(size_t scratchBytes, size_t counters);
  std::byte* scratch() const { return scratch_.data(); }
  /** Zero between kernels. */
  int32_t* counters() const { return reinterpret_cast<int32_t*>(counters_.data()); }
  /** Changes whenever the memory moves, since graphs contain its addresses. */
  int64_t generation() const { return generation_; }

 private:
  std::shared_ptr<Context> context_;
  Buffer scratch_, counters_;
  int64_t generation_ = 0;
};

/** Launches the kernels of an operation, or of a part of it. */
using Launch = std::function<cudaError_t(const Launcher&, const Workspace&)>;

/** An instantiated graph. */
class Graph {
 public:
  Graph() = default;
  explicit Graph(cudaGraphExec_t handle) : handle_(handle) {}
  ~Graph() { release(); }
  Graph(Graph&& other) noexcept { std::swap(handle_, other.handle_); }
  Graph& operator=(Graph&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  cudaGraphExec_t get() const { return handle_; }
  void release() noexcept {
    if (!handle_) return;
    const DriverLock lock;
    cudaGraphExecDestroy(handle_);
    handle_ = nullptr;
  }

 private:
  cudaGraphExec_t handle_ = nullptr;
};

class CudaExecutable final : public Executable, private Owned {
 public:
  CudaExecutable(Plan plan, std::shared_ptr<Context> context, std::shared_ptr<Workspace> workspace,
                 std::shared_ptr<Buffer> arena);
  ~CudaExecutable() override { context_->disown(this); }

  /** Adds a launch of the operation with this index. `part` is the name of its stage in traces; may be empty. */
  void add(Launch launch, size_t operation, const char* part) {
    steps_.push_back({std::move(launch), operation, part, {}, {}});
  }
  /** Says what the last launch that was added reads. */
  void reads(const Reads& reads) { steps_.back().reads = reads; }
  /** Decides what launches prefetch, once all have been added. */
  void planPrefetches();
  std::byte* arena() const { return arena_->data(); }
  const Plan& plan() const { return plan_; }
  /** The operation with this index and its label, for messages: 'linear of decoder.0/cross'. */
  std::string title(size_t operation) const;

  RunResult run(const RunOptions& options, const std::atomic<bool>& cancelled) override;

 private:
  struct Step {
    Launch launch;
    size_t operation;
    const char* part;
    Reads reads;
    Prefetch prefetch;
  };
  struct Flags {
    const int32_t* data = nullptr;
    int64_t count = 0;
    bool any = false;  // one set flag is enough
    bool operator==(const Flags&) const = default;
  };
  void release() noexcept override;
  /** Captures one replay as a graph. With `marks`, it records an event before each step and one after the last. Empty
   * if every attempt was invalidated by other calls. */
  Graph capture(const Flags& flags, const Events* marks);
  /** Captures `graph_` again if flags or workspace have changed. */
  void refresh(const Flags& flags);
  /** Starts one replay without a graph. */
  void start(const Flags& flags);
  /** Issues one replay to the stream, launch by launch. */
  void record(const Flags& flags, const Events* marks);
  /** Adds a traced replay's times to the result. */
  void report(const Events& marks, RunResult& result);
  /** Waits until this many replays are complete. */
  void waitFor(int64_t replays);
  /** The number of flags that are set. */
  int64_t set(const Flags& flags);
  /** Throws Error OUT_OF_MEMORY or DEVICE_FAILED, with what was being done to this program. */
  void check(cudaError_t error, const char* doing) const {
    if (error != cudaSuccess) context_->check(error, std::string(doing) + " program '" + plan_.name + "'");
  }

  Plan plan_;
  std::shared_ptr<Context> context_;
  std::shared_ptr<Workspace> workspace_;
  std::shared_ptr<Buffer> arena_;  // shared with other programs, since temporaries live during one run only
  std::vector<Step> steps_;
  Events ends_;          // ends of the latest replays, used in turn
  Events clock_;         // begin and end of a run
  bool loaded_ = false;  // all kernels' code, by a replay that was not captured
  Graph graph_;
  Flags captured_;
  int64_t capturedGeneration_ = -1;
};

}  // namespace onehead::cuda
