// A device: a backend and the one thread that all its work runs on, in the order in which it was submitted.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "backend.h"

namespace onehead {

/** One piece of work for a device's thread. */
struct Job {
  std::function<void(const std::atomic<bool>& cancelled)> work;
  /** Called on the device's thread when the work ended: null, or what it threw. */
  std::function<void(std::exception_ptr)> done;
  std::shared_ptr<std::atomic<bool>> cancelled = std::make_shared<std::atomic<bool>>(false);
};

class Device {
 public:
  explicit Device(std::shared_ptr<Backend> backend);
  /** Cancels what runs and what waits, and joins the thread. */
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  Backend& backend() { return *backend_; }
  /** Throws Error DISPOSED once the device is closed. */
  void submit(Job job);
  /** Idempotent: cancels everything and waits until the thread has ended. Every job's `done` has then been called. */
  void close();
  bool closed() const;

 private:
  void run();

  std::shared_ptr<Backend> backend_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  std::shared_ptr<std::atomic<bool>> running_;  // the flag of the job under way
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace onehead
