#include "device.h"

#include <utility>

#include "error.h"

namespace onehead {

Device::Device(std::shared_ptr<Backend> backend) : backend_(std::move(backend)) {
  thread_ = std::thread([this] { run(); });
}

Device::~Device() { close(); }

void Device::submit(Job job) {
  {
    std::lock_guard lock(mutex_);
    if (closing_) throw Error("DISPOSED", "This device has been closed; open a new one.");
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

bool Device::closed() const {
  std::lock_guard lock(mutex_);
  return closing_;
}

void Device::close() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
    if (running_) *running_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable() && thread_.get_id() != std::this_thread::get_id()) thread_.join();
}

void Device::run() {
  std::exception_ptr broken;
  try {
    backend_->start();
  } catch (...) {
    broken = std::current_exception();
  }
  for (;;) {
    Job job;
    bool closing;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return closing_ || !jobs_.empty(); });
      if (jobs_.empty()) break;
      closing = closing_;
      job = std::move(jobs_.front());
      jobs_.pop_front();
      running_ = job.cancelled;
    }
    std::exception_ptr failure = broken;
    if (closing) failure = std::make_exception_ptr(Error("DISPOSED", closedBeforeEnd));
    if (!failure) {
      try {
        job.work(*job.cancelled);
      } catch (...) {
        failure = std::current_exception();
      }
    }
    {
      std::lock_guard lock(mutex_);
      running_.reset();
    }
    // Release what the work holds (tensors, programs) before its caller is notified.
    job.work = nullptr;
    job.done(failure);
  }
  backend_->close();
}

}  // namespace onehead
