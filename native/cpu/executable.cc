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

/** Guard bytes after a poisoned program's scratch memory. */
constexpr size_t guardBytes = 256;
constexpr std::byte guard{0xa5};

/** The team between rounds: the leader alone. */
struct LeaderAlone final : Team {
  void barrier() const override {}
};

}  // namespace

void CpuExecutable::add(std::unique_ptr<Step> step, size_t operation) {
  const size_t bytes = step->scratchBytes();
  scratchBytes_ = std::max(scratchBytes_, bytes + (plan_.poison && bytes > 0 ? guardBytes : 0));
  scratch_->atLeast(scratchBytes_);
  entries_.push_back({std::move(step), operation});
}

size_t CpuExecutable::scratchOf(size_t entry) const {
  size_t bytes = 0;
  for (const Entry& other : entries_)  // the steps of an operation pass data on in the scratch memory
    if (other.operation == entries_[entry].operation) bytes = std::max(bytes, other.step->scratchBytes());
  return bytes;
}

void CpuExecutable::poisonScratch(size_t entry) {
  const size_t bytes = scratchOf(entry);
  if (bytes == 0 || (entry > 0 && entries_[entry - 1].operation == entries_[entry].operation)) return;
  std::byte* const begin = scratch_->buffer.data();
  std::fill_n(begin, bytes, std::byte{0xff});
  std::fill_n(begin + bytes, guardBytes, guard);
}

void CpuExecutable::checkScratch(size_t entry) const {
  const size_t bytes = scratchOf(entry);
  const std::byte* const end = scratch_->buffer.data() + bytes;
  if (bytes == 0 || std::all_of(end, end + guardBytes, [](std::byte value) { return value == guard; })) return;
  throw Error("DEVICE_FAILED", "Program '" + plan_.name + "': " + plan_.operations[entries_[entry].operation].name +
                                   " wrote beyond the " + std::to_string(bytes) +
                                   " bytes of scratch memory that it requested.");
}

void CpuExecutable::replay(double* microseconds, const std::atomic<bool>& cancelled) {
  Clock::time_point last = Clock::now();
  for (size_t i = 0; i < entries_.size() && !cancelled; ++i) {
    Step& step = *entries_[i].step;
    if (plan_.poison) poisonScratch(i);
    if (step.collective())
      team_.run([&](const Team& part) { step.run(part); });
    else
      step.run(LeaderAlone());
    if (plan_.poison) checkScratch(i);
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
  scratch_->atLeast(scratchBytes_);  // it is gone if another program needed more than there is
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
