// A prepared CUDA program: its launches, captured as one CUDA graph and replayed.
#pragma once

#include <functional>
#include <vector>

#include "context.h"

namespace onehead::cuda {

/** Memory that the kernels of all programs of one device share: they run one after another. */
class Workspace {
 public:
  explicit Workspace(std::shared_ptr<Context> context) : context_(std::move(context)) {}
  /** Throws Error OUT_OF_MEMORY; what was there stays. */
  void atLeast(size_t scratchBytes, size_t counters);
  std::byte* scratch() const { return scratch_.data(); }
  /** Zero between kernels. */
  int32_t* counters() const { return reinterpret_cast<int32_t*>(counters_.data()); }
  /** Changes when the memory has moved: graphs hold its addresses. */
  int64_t generation() const { return generation_; }

 private:
  std::shared_ptr<Context> context_;
  Buffer scratch_, counters_;
  int64_t generation_ = 0;
};

/** Starts the kernels of one operation, or a part of it. */
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

  /** Adds launches of the operation with this index; `part` names a stage of it that traces tell apart, or is empty. */
  void add(Launch launch, size_t operation, const char* part) {
    steps_.push_back({std::move(launch), operation, part});
  }
  std::byte* arena() const { return arena_->data(); }
  const Plan& plan() const { return plan_; }
  /** The operation with this index and where it was recorded: 'linear of decoder.0/cross'. */
  std::string title(size_t operation) const;

  RunResult run(const RunOptions& options, const std::atomic<bool>& cancelled) override;

 private:
  struct Step {
    Launch launch;
    size_t operation;
    const char* part;
  };
  struct Flags {
    const int32_t* data = nullptr;
    int64_t count = 0;
    bool any = false;  // one is enough
    bool operator==(const Flags&) const = default;
  };
  void release() noexcept override;
  /** One replay as a graph; with `marks`, an event before each step and one behind the last. None where others kept
   * disturbing the capture. */
  Graph capture(const Flags& flags, const Events* marks);
  /** Makes `graph_` one replay with these flags, unless it is. */
  void refresh(const Flags& flags);
  /** Starts one replay without a graph. */
  void start(const Flags& flags);
  /** Gives the stream one replay, launch by launch. */
  void record(const Flags& flags, const Events* marks);
  /** Adds a traced replay's times. */
  void report(const Events& marks, RunResult& result);
  /** Waits until so many replays are done. */
  void waitFor(int64_t replays);
  /** How many are set. */
  int64_t set(const Flags& flags);
  /** Throws Error OUT_OF_MEMORY or DEVICE_FAILED, which says what was being done with this program. */
  void check(cudaError_t error, const char* doing) const {
    if (error != cudaSuccess) context_->check(error, std::string(doing) + " program '" + plan_.name + "'");
  }

  Plan plan_;
  std::shared_ptr<Context> context_;
  std::shared_ptr<Workspace> workspace_;
  std::shared_ptr<Buffer> arena_;  // shared with other programs: temporaries live in one run
  std::vector<Step> steps_;
  Events ends_;          // of the latest replays, in turn
  Events clock_;         // before and behind a run
  bool loaded_ = false;  // the code of all kernels, by a replay that was not captured
  Graph graph_;
  Flags captured_;
  int64_t capturedGeneration_ = -1;
};

}  // namespace onehead::cuda
