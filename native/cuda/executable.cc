#include "executable.h"

#include <algorithm>
#include <thread>

#include "../core/error.h"
#include "storage.h"

namespace onehead::cuda {

namespace {

/** Replays in flight while the host polls for completion: with none the device would idle between two replays, but each
 * may turn out to be superfluous. */
constexpr int64_t replaysInFlight = 1;
/** How often the host polls before it sleeps on an event: a short step ends sooner than a thread wakes up. */
constexpr int pollsBeforeSleep = 20000;
/** Attempts to capture a graph. Other libraries in the process do not hold the driver lock, and may invalidate a
 * capture; after this many a run continues without a graph. */
constexpr int captureAttempts = 3;

}  // namespace

void Workspace::atLeast(size_t scratchBytes, size_t counters) {
  auto grow = [&](Buffer& buffer, size_t bytes) {
    if (bytes <= buffer.bytes()) return;
    // Prepared programs keep using the old memory until there is new memory.
    buffer = Buffer(bytes, context_);
    ++generation_;
  };
  grow(scratch_, scratchBytes);
  grow(counters_, counters * sizeof(int32_t));
}

CudaExecutable::CudaExecutable(Plan plan, std::shared_ptr<Context> context, std::shared_ptr<Workspace> workspace,
                               std::shared_ptr<Buffer> arena)
    : plan_(std::move(plan)),
      context_(std::move(context)),
      workspace_(std::move(workspace)),
      arena_(std::move(arena)),
      ends_(*context_, replaysInFlight + 1, cudaEventBlockingSync | cudaEventDisableTiming),
      clock_(*context_, 2, cudaEventDefault) {
  context_->own(this);
}

void CudaExecutable::release() noexcept {
  graph_.release();
  ends_.release();
  clock_.release();
}

std::string CudaExecutable::title(size_t operation) const {
  const Operation& named = plan_.operations[operation];
  return named.name + (named.label.empty() ? "" : " of " + named.label);
}

void CudaExecutable::record(const Flags& flags, const Events* marks) {
  Launcher launcher = context_->launcher();
  if (marks) launcher.programmatic = false;  // kernels must not overlap when they are timed
  auto mark = [&](size_t i) {
    if (marks) check(cudaEventRecordWithFlags((*marks)[i], launcher.stream, cudaEventRecordExternal), "recording");
  };
  if (plan_.poison && plan_.arenaBytes) {
    const DriverLock lock;
    check(fillBytes(arena_->data(), plan_.arenaBytes, 0xff, launcher), "recording");
  }
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Step& step = steps_[i];
    const DriverLock lock;  // the launch may load the kernel's code
    mark(i);
    // The first kernel waits for the whole previous replay, even without a graph: later kernels may load what no kernel
    // before them in the program writes.
    Launcher stepLauncher = launcher;
    stepLauncher.programmatic &= i > 0;
    if (stepLauncher.programmatic) stepLauncher.prefetch = step.prefetch;
    const cudaError_t error = step.launch(stepLauncher, *workspace_);
    if (error != cudaSuccess) context_->check(error, "launching " + title(step.operation));
  }
  const DriverLock lock;
  mark(steps_.size());
  check(publish(context_->progress().device, flags.data, flags.count, flags.any, launcher), "recording");
}

void CudaExecutable::planPrefetches() {
  if (!context_->launcher().programmatic) return;
  std::vector<Reads> reads;
  for (const Step& step : steps_) reads.push_back(step.reads);
  const std::vector<Prefetch> prefetches = cuda::planPrefetches(reads, context_->launcher().cacheBytes);
  for (size_t i = 0; i < steps_.size(); ++i) steps_[i].prefetch = prefetches[i];
}

void CudaExecutable::start(const Flags& flags) {
  try {
    record(flags, nullptr);
  } catch (...) {
    cudaStreamSynchronize(context_->stream());  // launched kernels must end before their memory may be freed
    cudaGetLastError();
    throw;
  }
}

Graph CudaExecutable::capture(const Flags& flags, const Events* marks) {
  context_->progress();  // allocates, which is not possible during a capture
  for (int i = 0; i < captureAttempts; ++i) {
    const DriverLock lock;
    // Relaxed mode, because a traced replay may be the first one, which loads kernels' code during the capture.
    check(cudaStreamBeginCapture(context_->stream(), cudaStreamCaptureModeRelaxed), "recording");
    cudaGraph_t graph = nullptr;
    std::exception_ptr failure;
    try {
      record(flags, marks);
    } catch (...) {
      failure = std::current_exception();
    }
    const cudaError_t ended = cudaStreamEndCapture(context_->stream(), &graph);
    if (ended == cudaErrorStreamCaptureInvalidated) {
      cudaGetLastError();
      continue;
    }
    if (failure) {
      if (ended == cudaSuccess) cudaGraphDestroy(graph);
      cudaGetLastError();
      std::rethrow_exception(failure);
    }
    check(ended, "recording");
    cudaGraphExec_t executable = nullptr;
    const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    check(error, "recording");
    Graph made(executable);
    check(cudaGraphUpload(executable, context_->stream()), "recording");  // otherwise the first launch allocates
    return made;
  }
  return {};
}

void CudaExecutable::refresh(const Flags& flags) {
  if (graph_.get() && captured_ == flags && capturedGeneration_ == workspace_->generation()) return;
  graph_ = capture(flags, nullptr);
  captured_ = flags;
  capturedGeneration_ = workspace_->generation();
}

void CudaExecutable::waitFor(int64_t replays) {
  if (replays <= 0) return;
  const Progress* progress = context_->progress().host;
  for (int i = 0; i < pollsBeforeSleep; ++i)
    if (progress->replays >= replays) return;
  check(cudaEventSynchronize(ends_[size_t(replays % (replaysInFlight + 1))]), "running");
}

void CudaExecutable::report(const Events& marks, RunResult& result) {
  for (size_t i = 0; i < steps_.size(); ++i) {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, marks[i], marks[i + 1]), "timing");
    const double microseconds = double(milliseconds) * 1000;
    const Step& step = steps_[i];
    result.microseconds[step.operation] += microseconds;
    if (!*step.part) continue;
    auto same = [&](const RunResult::Part& part) { return part.operation == step.operation && part.name == step.part; };
    auto part = std::find_if(result.parts.begin(), result.parts.end(), same);
    if (part == result.parts.end()) part = result.parts.insert(part, {step.operation, step.part, 0});
    part->microseconds += microseconds;
  }
}

int64_t CudaExecutable::set(const Flags& flags) {
  std::vector<int32_t> values(static_cast<size_t>(flags.count));
  download(*context_, values.data(), reinterpret_cast<const std::byte*>(flags.data), values.size() * sizeof(int32_t));
  return flags.count - std::count(values.begin(), values.end(), 0);
}

RunResult CudaExecutable::run(const RunOptions& options, const std::atomic<bool>& cancelled) {
  RunResult result;
  if (options.trace) result.microseconds.assign(plan_.operations.size(), 0);
  Flags flags;
  if (options.until.storage)
    flags = {reinterpret_cast<const int32_t*>(static_cast<CudaStorage&>(*options.until.storage).plain()) +
                 options.until.offset,
             options.until.elements(), options.when != Until::all};
  if (options.stopped()) return result;
  const int64_t before = flags.data ? set(flags) : 0;
  if (flags.data && options.ends(before, before, flags.count)) return result;

  const Events marks(*context_, options.trace ? steps_.size() + 1 : 0, cudaEventDefault);
  Graph traced;
  if (options.trace) {
    traced = capture(flags, &marks);
    if (!traced.get())
      context_->fail("recording program '" + plan_.name + "'",
                     "every capture of its graph was invalidated; another library in this process may be calling the "
                     "CUDA driver");
  } else if (loaded_) {
    refresh(flags);
  }
  Progress* progress = context_->progress().host;
  progress->replays = 0;
  progress->endedAt = options.when == Until::another ? -before : 0;
  int64_t launched = 0, untimed = 0;
  check(cudaEventRecord(clock_[0], context_->stream()), "running");
  while (launched < options.times && !cancelled && !options.stopped() && progress->endedAt <= 0) {
    // The first replay is not a graph: it loads kernels' code outside a capture.
    const cudaGraphExec_t graph = options.trace ? traced.get() : loaded_ ? graph_.get() : nullptr;
    if (graph)
      check(cudaGraphLaunch(graph, context_->stream()), "running");
    else
      start(flags);
    ++launched;
    if (options.trace) {
      check(cudaStreamSynchronize(context_->stream()), "running");
      report(marks, result);
    } else {
      check(cudaEventRecord(ends_[size_t(launched % (replaysInFlight + 1))], context_->stream()), "running");
      if (!loaded_ && launched < options.times) {
        refresh(flags);
        check(cudaEventRecord(clock_[0], context_->stream()), "running");
        untimed = launched;
      }
      loaded_ = true;
      waitFor(launched - replaysInFlight);
    }
  }
  check(cudaEventRecord(clock_[1], context_->stream()), "running");
  check(cudaStreamSynchronize(context_->stream()), "running");
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, clock_[0], clock_[1]), "running");
  // A first replay that loaded kernels is not timed if others follow, and counts like them.
  const int64_t timed = launched - untimed;
  result.elapsed = double(milliseconds) * 1000 * (timed > 0 ? double(launched) / double(timed) : 1);
  // With Until::all, replays after the end changed nothing and are not counted; otherwise they are.
  result.times = progress->endedAt > 0 && options.when == Until::all ? int64_t(progress->endedAt) : launched;
  return result;
}

}  // namespace onehead::cuda
