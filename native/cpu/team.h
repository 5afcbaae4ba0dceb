// The threads of a CPU device: one team for our kernels and for oneDNN (openmp.cc).
//
// Work is done in rounds. The leading thread opens a round with several parts. Every thread takes the next free part,
// and the leader returns when all are done. A thread that is not running (asleep, or descheduled in favour of another
// process) does not delay the others: they take its parts. (If a kernel has a barrier, its parts run concurrently, and
// threads that wait at the barrier sleep eventually.) Threads without work spin for some microseconds, since the next
// round is usually near, and then sleep, so that other processes can use the core.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "kernels.h"

namespace onehead::cpu {

/** Tells the core that this thread is spinning. */
void pauseSpinning();

/** Lets threads wait for a condition: they spin, then sleep. */
class WaitPoint {
 public:
  /** Returns once `ready()` is true. `ready` must read variables that others write before they call `wake`; both with
   * sequential consistency. */
  template <class Ready>
  void wait(const Ready& ready) {
    if (spins(ready)) return;
    while (!ready()) {
      const int seen = calls_.load();
      sleepers_.fetch_add(1);
      if (!ready()) calls_.wait(seen);
      sleepers_.fetch_sub(1);
    }
  }
  void wake() {
    if (sleepers_.load() == 0) return;
    calls_.fetch_add(1);
    calls_.notify_all();
  }

 private:
  using Clock = std::chrono::steady_clock;
  /** About as long as putting a thread to sleep and waking it takes. So the cost is at most twice that of the better
   * choice. */
  static constexpr std::chrono::microseconds spinning{50};

  template <class Ready>
  static bool spins(const Ready& ready) {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      pauseSpinning();
    }
    const Clock::time_point begin = Clock::now();
    for (int i = 0; i % 32 != 31 || Clock::now() - begin < spinning; ++i) {
      if (ready()) return true;
      pauseSpinning();
    }
    return false;
  }

  alignas(64) std::atomic<int> sleepers_ = 0;
  std::atomic<int> calls_ = 0;
};

/** A barrier for the threads that run one round's parts. */
class Barrier {
 public:
  void wait(int threads);

 private:
  alignas(64) std::atomic<int> arrived_ = 0;
  alignas(64) std::atomic<int> generation_ = 0;
  WaitPoint waitPoint_;
};

class ThreadTeam {
 public:
  /** The calling thread becomes the leader: only it may call `run`. Throws Error DEVICE_FAILED if the system has too
   * few threads. */
  explicit ThreadTeam(int threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int threads() const { return threads_; }
  /** False after `useOpenmp`. */
  bool ownsThreads() const { return ownsThreads_; }
  /** Ends our own threads; OpenMP's are used from now on. For the leader, between rounds. */
  void useOpenmp();

  /** The team that the calling thread leads; null on other threads. */
  static ThreadTeam* led();
  /** The part that the calling thread is running; null outside rounds. */
  static const Team* part();

  /** Calls work(const Team&) for each part 0 ... parts - 1 (by default `threads()` parts), and returns when all have
   * returned. `work` must not throw, and must not open a round. */
  template <class Work>
  void run(const Work& work, int parts) {
    open([](const void* data, const Team& team) { (*static_cast<const Work*>(data))(team); }, &work, parts);
  }
  template <class Work>
  void run(const Work& work) {
    run(work, threads_);
  }
  /** Calls work() as the only part of its own round, on any thread. */
  template <class Work>
  static void runAlone(const Work& work) {
    callAlone([](const void* data, const Team&) { (*static_cast<const Work*>(data))(); }, &work);
  }

 private:
  using Call = void (*)(const void* data, const Team& team);
  class Part;

  static void callAlone(Call call, const void* data);
  void open(Call call, const void* data, int parts);
  void workUntilClosed();
  /** Takes and runs parts of the open round until none is left; returns how many it ran. */
  int runParts();
  /** Counts finished parts; returns true if the round is complete. */
  bool finish(int ran, int parts);
  void close();

  const int threads_;
  bool ownsThreads_ = true;
  // The open round: written before it opens, read by threads that took a part.
  Call call_ = nullptr;
  const void* data_ = nullptr;
  uint32_t round_ = 0;
  Barrier barrier_;
  /** The open round: its number (32 bits), its number of parts (16), and the next part to take (16), which may exceed
   * the number of parts. */
  alignas(64) std::atomic<uint64_t> ticket_ = 0;
  alignas(64) std::atomic<int> done_ = 0;
  std::atomic<bool> closing_ = false;
  WaitPoint idle_, leader_;
  std::vector<std::thread> workers_;
};

}  // namespace onehead::cpu
