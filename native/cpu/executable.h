// A prepared CPU program: its steps, its arena, and replaying them.
#pragma once

#include <memory>
#include <vector>

#include "memory.h"
#include "step.h"
#include "team.h"

namespace onehead::cpu {

/** Scratch memory that the steps of all programs of a device share, since they run one after another. */
struct Scratch {
  Buffer buffer;
  std::shared_ptr<MemoryCounter> counter;
  /** Throws Error OUT_OF_MEMORY; then there is none, since the old memory is freed before the new is allocated. */
  void atLeast(size_t bytes) {
    if (bytes <= buffer.bytes()) return;
    buffer.reset();
    buffer = Buffer(bytes, counter);
  }
};

class CpuExecutable final : public Executable {
 public:
  CpuExecutable(Plan plan, std::shared_ptr<Buffer> arena, std::shared_ptr<Scratch> scratch, ThreadTeam& team)
      : plan_(std::move(plan)), arena_(std::move(arena)), scratch_(std::move(scratch)), team_(team) {}
  /** Adds a step of the operation with this index. Steps run in the order in which they were added. */
  void add(std::unique_ptr<Step> step, size_t operation);
  std::byte* arena() const { return arena_->data(); }
  const Plan& plan() const { return plan_; }

  RunResult run(const RunOptions& options, const std::atomic<bool>& cancelled) override;

 private:
  struct Entry {
    std::unique_ptr<Step> step;
    size_t operation;
  };
  /** Scratch memory that the operation of this entry requested, in bytes. */
  size_t scratchOf(size_t entry) const;
  /** For poisoned programs: fills an operation's scratch memory with NaN, and puts guard bytes after it. */
  void poisonScratch(size_t entry);
  /** Throws Error DEVICE_FAILED if the operation wrote beyond the scratch memory that it requested. */
  void checkScratch(size_t entry) const;
  /** Adds each entry's time to `microseconds`, unless it is null. */
  void replay(double* microseconds, const std::atomic<bool>& cancelled);
  /** Reports the entries' times by operation and by stage. */
  void report(const std::vector<double>& microseconds, RunResult& result) const;

  Plan plan_;
  std::shared_ptr<Buffer> arena_;  // shared with other programs, since temporaries live during one run only
  std::shared_ptr<Scratch> scratch_;
  size_t scratchBytes_ = 0;  // that its steps need
  std::vector<Entry> entries_;
  ThreadTeam& team_;
};

}  // namespace onehead::cpu
