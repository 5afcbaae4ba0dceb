// Uploads weights through two pinned buffers in turn: one is filled while the device reads the other.
#pragma once

#include "context.h"

namespace onehead::cuda {

class Pieces {
 public:
  explicit Pieces(Context& context) : context_(context), free_(context, 2, cudaEventDisableTiming) {}
  /** After an error, such as a file that cannot be read, copies may be under way: they must end before the memory that
   * they write is freed. So objects of this class are declared after that memory. */
  ~Pieces() { cudaStreamSynchronize(context_.stream()); }
  Pieces(const Pieces&) = delete;
  Pieces& operator=(const Pieces&) = delete;
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
