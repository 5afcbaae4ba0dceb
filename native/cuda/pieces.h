// Uploads weights through two pinned buffers in turn: one is filled while the device reads the other.
#pragma once

#include "context.h"

namespace onehead::cuda {

class Pieces {
 public:
  explicit Pieces(Context& context) : context_(context), free_(context, 2, cudaEventDisableTiming) {}
  /** The next buffer, once the device has finished reading it. */
  const Context::Mapped<std::byte>& next() {
    current_ ^= 1;
    context_.check(cudaEventSynchronize(free_[current_]), "uploading");
    return context_.piece(int(current_));
  }
  void sent() { context_.check(cudaEventRecord(free_[current_], context_.stream()), "uploading"); }

 private:
  Context& context_;
  Events free_;
  size_t current_ = 0;
};

}  // namespace onehead::cuda
