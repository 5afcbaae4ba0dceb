// Keeps graph captures apart from calls that would invalidate them, in all devices of the process.
//
// Calls that make the driver wait for a whole context (freeing memory, a stream or a pool, loading a kernel's code)
// invalidate captures of any thread in that context, in relaxed mode too; and all devices of one GPU share a context.
// So captures, and calls that create, free or load anything, hold this lock. (Before there was such a lock, about half
// of the processes on an H200 that closed one device and opened another failed while recording.)
#pragma once

#include <mutex>

namespace onehead::cuda {

/** Holds the lock during its lifetime; recursive. */
class DriverLock {
 public:
  DriverLock() : lock_(mutex()) {}

 private:
  static std::recursive_mutex& mutex() {
    // Never destroyed, since JavaScript objects may be finalized at exit.
    static std::recursive_mutex* const one = new std::recursive_mutex;
    return *one;
  }
  std::lock_guard<std::recursive_mutex> lock_;
};

}  // namespace onehead::cuda
