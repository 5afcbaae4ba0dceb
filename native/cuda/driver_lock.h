// Keeps captures apart from whatever may disturb them, in all devices of the process.
//
// A driver that must wait for a whole context, because memory, a stream or a pool goes or a kernel's code arrives,
// invalidates what any thread is capturing there, in the relaxed mode too; and all devices of one GPU share a context.
// So whoever captures, makes, frees or loads anything holds this lock meanwhile. (On an H200, about half of the
// processes that closed one device and opened another failed while recording, before there was such a lock.)
#pragma once

#include <mutex>

namespace onehead::cuda {

/** Holds the lock while it lives; a thread may hold it several times. */
class DriverLock {
 public:
  DriverLock() : lock_(mutex()) {}

 private:
  static std::recursive_mutex& mutex() {
    static std::recursive_mutex* const one =
        new std::recursive_mutex;  // never destroyed: objects of JavaScript go late
    return *one;
  }
  std::lock_guard<std::recursive_mutex> lock_;
};

}  // namespace onehead::cuda
