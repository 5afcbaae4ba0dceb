// A team of threads with a spinning barrier, for the kernels' check and microbench.
#pragma once

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "kernels.h"

/** Threads that stay alive between kernels, as those of a real pool do. */
class ThreadTeam {
 public:
  explicit ThreadTeam(int threads) : barrier_(threads) {
    for (int i = 0; i < threads; ++i) {
      members_.emplace_back(barrier_);
      members_.back().thread = i;
      members_.back().threads = threads;
    }
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  }
  ~ThreadTeam() {
    job_ = nullptr;
    generation_.fetch_add(1, std::memory_order_release);
    for (std::thread& worker : workers_) worker.join();
  }

  void run(const std::function<void(const onehead::cpu::Team&)>& job) {
    job_ = &job;
    generation_.fetch_add(1, std::memory_order_release);
    job(members_[0]);
    barrier_.wait();
  }

 private:
  class Barrier {
   public:
    explicit Barrier(int threads) : threads_(threads) {}
    void wait() {
      const int generation = generation_.load(std::memory_order_acquire);
      if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
        arrived_.store(0, std::memory_order_relaxed);
        generation_.fetch_add(1, std::memory_order_release);
        return;
      }
      for (int spins = 0; generation_.load(std::memory_order_acquire) == generation; ++spins)
        if (spins > 10000) std::this_thread::yield();
    }

   private:
    const int threads_;
    std::atomic<int> arrived_ = 0, generation_ = 0;
  };
  class Member : public onehead::cpu::Team {
   public:
    explicit Member(Barrier& barrier) : barrier_(barrier) {}
    void barrier() const override { barrier_.wait(); }

   private:
    Barrier& barrier_;
  };

  void work(int thread) {
    for (int seen = 0;; ++seen) {
      for (int spins = 0; generation_.load(std::memory_order_acquire) == seen; ++spins)
        if (spins > 10000) std::this_thread::yield();
      if (!job_) return;
      (*job_)(members_[thread]);
      barrier_.wait();
    }
  }

  Barrier barrier_;
  std::vector<Member> members_;
  std::vector<std::thread> workers_;
  const std::function<void(const onehead::cpu::Team&)>* job_ = nullptr;
  std::atomic<int> generation_ = 0;
};
