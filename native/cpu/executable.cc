#include "executable.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <dnnl.hpp>

#include "../core/error.h"
#include "storage.h"

namespace onehead::cpu {

namespace {

using Clock = std::chrono::steady_clock;

double microsecondsSince(Clock::time_point& last) {
  Clock::time_point now = Clock::now();
  double elapsed = std::chrono::duration<double, std::micro>(now - last).count();
  last = now;
  return elapsed;
}

/** The thread that leads the team, between rounds. */
struct LeaderAlone final : Team {
  void barrier() const override {}
};

}  // namespace

void CpuExecutable::add(std::unique_ptr<Step> step, size_t operation) {
  scratch_->atLeast(step->scratchBytes());
  entries_.push_back({std::move(step), operation});
}

void CpuExecutable::replay(double* microseconds, const std::atomic<bool>& cancelled) {
  Clock::time_point last = Clock::now();
  for (size_t i = 0; i < entries_.size() && !cancelled; ++i) {
    Step& step = *entries_[i].step;
    if (step.collective())
      team_.run([&](const Team& part) { step.run(part); });
    else
      step.run(LeaderAlone());
    if (microseconds) microseconds[i] += microsecondsSince(last);
  }
}

void CpuExecutable::report(const std::vector<double>& microseconds, RunResult& result) const {
  result.microseconds.assign(plan_.operations.size(), 0);
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    result.microseconds[entry.operation] += microseconds[i];
    if (!*entry.step->part) continue;
    bool same = !result.parts.empty() && result.parts.back().operation == entry.operation &&
                result.parts.back().name == entry.step->part;
    if (!same) result.parts.push_back({entry.operation, entry.step->part, 0});
    result.parts.back().microseconds += microseconds[i];
  }
}

RunResult CpuExecutable::run(const RunOptions& options, const std::atomic<bool>& cancelled) {
  RunResult result;
  std::vector<double> microseconds(options.trace ? entries_.size() : 0);
  for (Entry& entry : entries_) entry.step->bind(scratch_->buffer.data());
  const int32_t* flags = nullptr;
  if (options.until.storage)
    flags = reinterpret_cast<const int32_t*>(static_cast<CpuStorage&>(*options.until.storage).plain()) +
            options.until.offset;
  const int64_t count = flags ? options.until.elements() : 0;
  auto set = [&] { return count - std::count(flags, flags + count, 0); };
  const int64_t before = set();
  auto ended = [&] { return flags && options.ends(set(), before, count); };
  Clock::time_point begin = Clock::now();
  try {
    while (result.times < options.times && !cancelled && !options.stopped() && !ended()) {
      if (plan_.poison && plan_.arenaBytes) std::memset(arena_->data(), 0xff, plan_.arenaBytes);
      replay(options.trace ? microseconds.data() : nullptr, cancelled);
      if (!cancelled) ++result.times;
    }
  } catch (const dnnl::error& error) {
    throw Error("DEVICE_FAILED", "Program '" + plan_.name + "' failed in oneDNN: " + error.what() + ".");
  }
  result.elapsed = microsecondsSince(begin);
  if (options.trace) report(microseconds, result);
  return result;
}

}  // namespace onehead::cpu
