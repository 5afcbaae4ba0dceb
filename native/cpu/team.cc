#include "team.h"

#include <pthread.h>

#include <algorithm>
#include <string>
#include <system_error>

#include "../core/error.h"
#include "openmp.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace onehead::cpu {

namespace {

thread_local ThreadTeam* ledByCaller = nullptr;
thread_local const Team* partOfCaller = nullptr;

constexpr uint64_t ticketOf(uint32_t round, int parts, int next) {
  return uint64_t(round) << 32 | uint64_t(parts) << 16 | uint64_t(next);
}
constexpr uint32_t roundOf(uint64_t ticket) { return uint32_t(ticket >> 32); }
constexpr int partsOf(uint64_t ticket) { return int(ticket >> 16 & 0xffff); }
constexpr int nextOf(uint64_t ticket) { return int(ticket & 0xffff); }

}  // namespace

void pauseSpinning() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

void Barrier::wait(int threads) {
  if (threads == 1) return;
  const int generation = generation_.load();
  if (arrived_.fetch_add(1) + 1 == threads) {
    arrived_.store(0);
    generation_.store(generation + 1);
    waitPoint_.wake();
    return;
  }
  waitPoint_.wait([&] { return generation_.load() != generation; });
}

/** A part of a round while a thread runs it. */
class ThreadTeam::Part final : public Team {
 public:
  Part(int index, int count, Barrier* barrier) : barrier_(barrier), outer_(partOfCaller) {
    thread = index;
    threads = count;
    partOfCaller = this;
  }
  ~Part() override { partOfCaller = outer_; }
  void barrier() const override {
    if (barrier_) barrier_->wait(threads);
  }

 private:
  Barrier* barrier_;
  const Team* outer_;
};

ThreadTeam* ThreadTeam::led() { return ledByCaller; }
const Team* ThreadTeam::part() { return partOfCaller; }

ThreadTeam::ThreadTeam(int threads) : threads_(threads) {
  try {
    for (int i = 1; i < threads_; ++i) {
      workers_.emplace_back([this] { workUntilClosed(); });
      pthread_setname_np(workers_.back().native_handle(), "onehead-cpu");
    }
  } catch (const std::system_error&) {
    const size_t started = workers_.size() + 1;
    close();
    throw Error("DEVICE_FAILED", "The CPU device could only start " + std::to_string(started) + " of " +
                                     std::to_string(threads_) +
                                     " threads; pass a smaller number as `threads`, or raise the process limit.");
  }
  ledByCaller = this;
}

void ThreadTeam::useOpenmp() {
  close();
  ownsThreads_ = false;
  openmp::setThreads(threads_);
}

ThreadTeam::~ThreadTeam() {
  if (ledByCaller == this) ledByCaller = nullptr;
  close();
}

void ThreadTeam::close() {
  closing_.store(true);
  idle_.wake();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
}

void ThreadTeam::callAlone(Call call, const void* data) { call(data, Part(0, 1, nullptr)); }

void ThreadTeam::open(Call call, const void* data, int parts) {
  parts = std::min(parts, threads_);
  if (parts <= 1) return callAlone(call, data);
  if (!ownsThreads()) {
    return openmp::parallel(parts, [&](int index, int count) { call(data, Part(index, count, &barrier_)); });
  }
  call_ = call;
  data_ = data;
  done_.store(0);
  // The leader takes the first part, so that it tends to find what it left in its core's cache.
  ticket_.store(ticketOf(++round_, parts, 1));
  idle_.wake();
  call_(data_, Part(0, parts, &barrier_));
  if (!finish(1 + runParts(), parts)) leader_.wait([&] { return done_.load() == parts; });
}

int ThreadTeam::runParts() {
  for (int ran = 0;; ++ran) {
    // Checked before incrementing, so that it exceeds the number of parts by at most the number of threads.
    uint64_t ticket = ticket_.load();
    if (nextOf(ticket) >= partsOf(ticket)) return ran;
    ticket = ticket_.fetch_add(1);
    if (nextOf(ticket) >= partsOf(ticket)) return ran;
    call_(data_, Part(nextOf(ticket), partsOf(ticket), &barrier_));
  }
}

bool ThreadTeam::finish(int ran, int parts) { return done_.fetch_add(ran) + ran == parts; }

void ThreadTeam::workUntilClosed() {
  while (!closing_.load()) {
    const uint32_t round = roundOf(ticket_.load());
    if (const int ran = runParts()) {
      // The round stays open until its parts are counted.
      if (finish(ran, partsOf(ticket_.load()))) leader_.wake();
    } else {
      idle_.wait([&] { return roundOf(ticket_.load()) != round || closing_.load(); });
    }
  }
}

}  // namespace onehead::cpu
