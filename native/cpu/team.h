// The threads that one CPU device computes with: one team for our kernels and for oneDNN (openmp.cc).
//
// Work is done in rounds. The thread that leads the team opens a round of several parts; every thread takes the next
// part that nobody has taken, and the leader returns when all are done. A thread that does not run at the moment
// (asleep, or kept from its core by another process) holds nobody up: the others take its part. (Where a
// kernel has a barrier inside, its parts run side by side, and those that wait there sleep.) Threads without work
// spin for some microseconds, since the next round is near, and then sleep, so that other processes get the core.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "kernels.h"

namespace onehead::cpu {

/** Lets the core know that this thread spins. */
void pauseSpinning();

/** Where threads wait for a condition: they spin, then sleep. */
class WaitPoint {
 public:
  /** Returns once `ready()` is true. It reads what others write before they call `wake`, with sequential consistency on
   * both sides. */
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
  /** About what it takes to put a thread to sleep and to wake it: so neither spinning nor sleeping costs more than
   * twice the better choice. */
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

/** A meeting point for the threads that run one round's parts. */
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
  /** Whose threads they are: our own, or those of OpenMP's runtime, where oneDNN's cannot be led to ours (openmp.h). */
  enum class Threads { own, openmp };

  /** The calling thread leads: it alone calls `run`. Throws Error DEVICE_FAILED where the system gives too few threads.
   */
  ThreadTeam(int threads, Threads whose);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int threads() const { return threads_; }
  bool ownsThreads() const { return whose_ == Threads::own; }

  /** The team that the calling thread leads; null on other threads. */
  static ThreadTeam* led();
  /** The part of a round that the calling thread runs now; null outside of rounds. */
  static const Team* part();

  /** Calls work(const Team&) for each part of 0 to parts - 1, `threads()` of them unless fewer are given, and returns
   * when all have returned. `work` throws nothing and opens no round itself. */
  template <class Work>
  void run(const Work& work, int parts) {
    open([](const void* data, const Team& team) { (*static_cast<const Work*>(data))(team); }, &work, parts);
  }
  template <class Work>
  void run(const Work& work) {
    run(work, threads_);
  }
  /** Calls work() as the only part of a round of its own, on any thread. */
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
  /** Takes parts of the open round and runs them until none is left to take; returns their number. */
  int runParts();
  /** Counts parts that were run; true when they were the round's last. */
  bool finish(int ran, int parts);
  void close();

  const int threads_;
  const Threads whose_;
  // What the open round does: written before it opens, and read by those who took a part of it.
  Call call_ = nullptr;
  const void* data_ = nullptr;
  uint32_t round_ = 0;
  Barrier barrier_;
  /** The open round: its number (32 bits), its parts (16), and the next to be taken (16), which may go beyond the
   * parts. */
  alignas(64) std::atomic<uint64_t> ticket_ = 0;
  alignas(64) std::atomic<int> done_ = 0;
  std::atomic<bool> closing_ = false;
  WaitPoint idle_, leader_;
  std::vector<std::thread> workers_;
};

}  // namespace onehead::cpu
