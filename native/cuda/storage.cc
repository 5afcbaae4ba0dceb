#include "storage.h"

#include <algorithm>
#include <cstring>

#include "../core/error.h"
#include "pieces.h"

namespace onehead::cuda {

namespace {

/** Converts on the device, which reads pinned memory directly. */
cudaError_t convert(Context& context, const void* from, DType fromType, void* to, DType toType, int64_t elements) {
  const DriverLock lock;  // the launch may load the kernel's code
  CopyRowsArguments copy{};
  copy.rows = 1;
  copy.width = elements;
  copy.x = from;
  copy.xType = fromType;
  copy.y = to;
  copy.yType = toType;
  return copyRows(copy, context.launcher());
}

}  // namespace

CudaStorage::CudaStorage(size_t bytes, std::shared_ptr<Context> context)
    : Storage(bytes), context_(context), plain_(bytes, context) {}

CudaStorage::CudaStorage(Source source, DType dtype, const Shape& shape, std::shared_ptr<Context> context)
    : Storage(size_t(elementsOf(shape)) * bytesOf(dtype)),
      context_(std::move(context)),
      source_(std::move(source)),
      dtype_(dtype),
      shape_(shape),
      constant_(true) {}

void CudaStorage::assemble() {
  Buffer buffer(bytes, context_);
  Pieces pieces(*context_);
  std::byte* to = buffer.data();
  for (const Source::Part& part : source_.parts) {
    const size_t element = bytesOf(part.dtype), stored = bytesOf(dtype_);
    const int64_t maxElements = int64_t(Context::pieceBytes / element);
    for (int64_t done = 0; part.file && done < part.elements; done += maxElements) {
      const int64_t count = std::min(maxElements, part.elements - done);
      const auto& piece = pieces.next();
      part.read(done, count, piece.host, dtype_);
      std::byte* position = to + size_t(done) * stored;
      context_->check(part.dtype == dtype_ ? cudaMemcpyAsync(position, piece.host, size_t(count) * element,
                                                             cudaMemcpyHostToDevice, context_->stream())
                                           : convert(*context_, piece.device, part.dtype, position, dtype_, count),
                      "uploading weights");
      pieces.sent();
    }
    to += size_t(part.elements) * stored;
  }
  context_->synchronize("uploading weights");
  source_.parts.clear();  // closes the file if this was its last user
  plain_ = std::move(buffer);
}

std::byte* CudaStorage::plain() {
  if (!plain_ && bytes > 0) assemble();
  return plain_.data();
}

const std::byte* CudaStorage::channelsLast() {
  if (!constant_) return nullptr;
  if (channelsLast_) return channelsLast_.data();
  Buffer buffer(bytes, context_);
  PermuteArguments permuted{shape_[0], shape_[1], shape_[2], plain(), buffer.data(), bytesOf(dtype_)};
  {
    const DriverLock lock;  // the launch may load the kernel's code
    context_->check(permute(permuted, context_->launcher()), "permuting weights");
  }
  context_->synchronize("permuting weights");
  channelsLast_ = std::move(buffer);
  return channelsLast_.data();
}

const void* CudaStorage::as(DType dtype) {
  if (!constant_) return nullptr;
  if (dtype == dtype_) return plain();
  Buffer& converted = converted_[dtype];
  if (!converted) {
    const int64_t elements = elementsOf(shape_);
    Buffer buffer(size_t(elements) * bytesOf(dtype), context_);
    context_->check(convert(*context_, plain(), dtype_, buffer.data(), dtype, elements), "converting weights");
    context_->synchronize("converting weights");
    converted = std::move(buffer);
  }
  return converted.data();
}

void upload(Context& context, std::byte* to, const void* from, size_t bytes) {
  Pieces pieces(context);
  for (size_t done = 0; done < bytes; done += Context::pieceBytes) {
    const size_t size = std::min(Context::pieceBytes, bytes - done);
    const auto& piece = pieces.next();
    std::memcpy(piece.host, static_cast<const std::byte*>(from) + done, size);
    context.check(cudaMemcpyAsync(to + done, piece.host, size, cudaMemcpyHostToDevice, context.stream()), "uploading");
    pieces.sent();
  }
  context.synchronize("uploading");
}

void download(Context& context, void* to, const std::byte* from, size_t bytes) {
  const auto& piece = context.piece(0);
  for (size_t done = 0; done < bytes; done += Context::pieceBytes) {
    const size_t size = std::min(Context::pieceBytes, bytes - done);
    context.check(cudaMemcpyAsync(piece.host, from + done, size, cudaMemcpyDeviceToHost, context.stream()), "reading");
    context.synchronize("reading");
    std::memcpy(static_cast<std::byte*>(to) + done, piece.host, size);
  }
}

void transfer(Context& context, const std::vector<Piece>& writes, std::vector<Piece>& reads) {
  const auto& pinned = context.piece(0);
  size_t used = 0;
  /** A read that is in pinned memory, at `position`, once the device has been synchronized. */
  struct Arrival {
    std::byte* to;
    size_t position, bytes;
  };
  std::vector<Arrival> arrivals;
  auto finish = [&] {
    context.synchronize("transferring");
    for (const Arrival& one : arrivals) std::memcpy(one.to, pinned.host + one.position, one.bytes);
    arrivals.clear();
    used = 0;
  };
  // `move` copies `size` bytes of a piece, from offset `done`, to or from pinned memory at offset `position`.
  auto each = [&](size_t bytes, auto move) {
    for (size_t done = 0; done < bytes;) {
      if (used == Context::pieceBytes) finish();
      const size_t size = std::min(Context::pieceBytes - used, bytes - done);
      context.check(move(used, done, size), "transferring");
      used += size;
      done += size;
    }
  };
  auto memory = [](const Piece& piece) { return static_cast<CudaStorage&>(*piece.storage).plain() + piece.offset; };
  for (const Piece& piece : writes)
    each(piece.bytes.size(), [&](size_t position, size_t done, size_t size) {
      std::memcpy(pinned.host + position, piece.bytes.data() + done, size);
      return cudaMemcpyAsync(memory(piece) + done, pinned.host + position, size, cudaMemcpyHostToDevice,
                             context.stream());
    });
  for (Piece& piece : reads)
    each(piece.bytes.size(), [&](size_t position, size_t done, size_t size) {
      arrivals.push_back({piece.bytes.data() + done, position, size});
      return cudaMemcpyAsync(pinned.host + position, memory(piece) + done, size, cudaMemcpyDeviceToHost,
                             context.stream());
    });
  finish();
}

}  // namespace onehead::cuda
