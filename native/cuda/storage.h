// CUDA storage: plain device memory, or a constant that is read from its file when a program first needs it.
#pragma once

#include <map>

#include "context.h"

namespace onehead::cuda {

class CudaStorage final : public Storage {
 public:
  /** Mutable memory, zeroed. */
  CudaStorage(size_t bytes, std::shared_ptr<Context> context);
  CudaStorage(Source source, DType dtype, const Shape& shape, std::shared_ptr<Context> context);

  /** Row-major elements. */
  std::byte* plain();
  /** A convolution's weight [outputs, channels, kernel] as [outputs, kernel, channels]. Null for mutable memory. */
  const std::byte* channelsLast();
  /** A float32 constant in another type. Null for mutable memory. */
  const void* as(DType dtype);

 private:
  void assemble();

  std::shared_ptr<Context> context_;
  Buffer plain_, channelsLast_;
  std::map<DType, Buffer> converted_;
  Source source_;
  DType dtype_ = DType::float32;
  Shape shape_;
  bool constant_ = false;
};

/** Copy between host and device through pinned memory; return when complete. */
void upload(Context& context, std::byte* to, const void* from, size_t bytes);
/** Transfers many small pieces with a single wait, if the pinned memory holds them all. */
void transfer(Context& context, const std::vector<Piece>& writes, std::vector<Piece>& reads);
void download(Context& context, void* to, const std::byte* from, size_t bytes);

}  // namespace onehead::cuda
