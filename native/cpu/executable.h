// A prepared CPU program: its steps, its arena, and their replay.
#pragma once

#include <memory>
#include <vector>

#include "memory.h"
#include "step.h"
#include "team.h"

namespace onehead::cpu {

/** Memory that the steps of all programs of one device share: they run one after another. */
struct Scratch {
  Buffer buffer;
  std::shared_ptr<MemoryCounter> counter;
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
  /** Adds a step of the operation with this index. */
  void add(std::unique_ptr<Step> step, size_t operation);
  std::byte* arena() const { return arena_->data(); }
  const Plan& plan() const { return plan_; }

  RunResult run(const RunOptions& options, const std::atomic<bool>& cancelled) override;

 private:
  struct Entry {
    std::unique_ptr<Step> step;
    size_t operation;
  };
  /** Bytes of scratch memory that the operation of this entry asked for. */
  size_t scratchOf(size_t entry) const;
  /** Of a poisoned program: fills an operation's scratch memory with NaN, and puts a guard behind it. */
  void poisonScratch(size_t entry);
  /** Throws Error DEVICE_FAILED where the operation wrote behind the scratch memory that it had asked for. */
  void checkScratch(size_t entry) const;
  /** `microseconds`: of each entry, added up; null when they are not wanted. */
  void replay(double* microseconds, const std::atomic<bool>& cancelled);
  /** Tells what the entries took by operation and by stage. */
  void report(const std::vector<double>& microseconds, RunResult& result) const;

  Plan plan_;
  std::shared_ptr<Buffer> arena_;  // shared with other programs: temporaries live in one run
  std::shared_ptr<Scratch> scratch_;
  std::vector<Entry> entries_;
  ThreadTeam& team_;
};

}  // namespace onehead::cpu
