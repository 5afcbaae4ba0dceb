// A device: a backend, and the thread on which all its work runs in the order of submission.
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

/** The error of work that had not ended when its device was closed. */
constexpr const char* closedBeforeEnd = "This device was closed before the work was finished.";

/** Work for a device's thread. */
struct Job {
  std::function<void(const std::atomic<bool>& cancelled)> work;
  /** Called on the device's thread when the work has ended, with null or the exception that it threw. */
  std::function<void(std::exception_ptr)> done;
  std::shared_ptr<std::atomic<bool>> cancelled = std::make_shared<std::atomic<bool>>(false);
};

class Device {
 public:
  explicit Device(std::shared_ptr<Backend> backend);
  /** Cancels running and waiting jobs, and joins the thread. */
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  Backend& backend() { return *backend_; }
  /** Throws Error DISPOSED if the device is closed. */
  void submit(Job job);
  /** Idempotent. Cancels everything and waits for the thread to end; every job's `done` has been called by then. */
  void close();
  bool closed() const;

 private:
  void run();

  std::shared_ptr<Backend> backend_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  std::shared_ptr<std::atomic<bool>> running_;  // cancel flag of the running job
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace onehead
