#include "storage.h"

#include <algorithm>
#include <cstring>

#include "../core/error.h"
#include "pieces.h"

namespace onehead::cuda {

namespace {

/** Converts on the device: it reads the pinned piece itself. */
cudaError_t convert(Context& context, const void* from, DType fromType, void* to, DType toType, int64_t elements) {
  const DriverLock lock;  // the kernel's code may be loaded
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
    const int64_t most = int64_t(Context::pieceBytes / element);
    for (int64_t done = 0; part.file && done < part.elements; done += most) {
      const int64_t count = std::min(most, part.elements - done);
      const auto& piece = pieces.next();
      part.read(done, count, piece.host, dtype_);
      std::byte* place = to + size_t(done) * stored;
      context_->check(part.dtype == dtype_ ? cudaMemcpyAsync(place, piece.host, size_t(count) * element,
                                                             cudaMemcpyHostToDevice, context_->stream())
                                           : convert(*context_, piece.device, part.dtype, place, dtype_, count),
                      "uploading weights");
      pieces.sent();
    }
    to += size_t(part.elements) * stored;
  }
  context_->synchronize("uploading weights");
  source_.parts.clear();  // the file is closed with its last user
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
    const DriverLock lock;  // the kernel's code may be loaded
    context_->check(permute(permuted, context_->launcher()), "arranging weights");
  }
  context_->synchronize("arranging weights");
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
  /** What was read lies at `place` of the pinned memory until the device has been waited for. */
  struct Arrival {
    std::byte* to;
    size_t place, bytes;
  };
  std::vector<Arrival> arrivals;
  auto settle = [&] {
    context.synchronize("transferring");
    for (const Arrival& one : arrivals) std::memcpy(one.to, pinned.host + one.place, one.bytes);
    arrivals.clear();
    used = 0;
  };
  // `move` takes so many bytes of the piece, from `done` on, to or from the pinned memory at `place`.
  auto each = [&](size_t bytes, auto move) {
    for (size_t done = 0; done < bytes;) {
      if (used == Context::pieceBytes) settle();
      const size_t size = std::min(Context::pieceBytes - used, bytes - done);
      context.check(move(used, done, size), "transferring");
      used += size;
      done += size;
    }
  };
  auto memory = [](const Piece& piece) { return static_cast<CudaStorage&>(*piece.storage).plain() + piece.offset; };
  for (const Piece& piece : writes)
    each(piece.bytes.size(), [&](size_t place, size_t done, size_t size) {
      std::memcpy(pinned.host + place, piece.bytes.data() + done, size);
      return cudaMemcpyAsync(memory(piece) + done, pinned.host + place, size, cudaMemcpyHostToDevice, context.stream());
    });
  for (Piece& piece : reads)
    each(piece.bytes.size(), [&](size_t place, size_t done, size_t size) {
      arrivals.push_back({piece.bytes.data() + done, place, size});
      return cudaMemcpyAsync(pinned.host + place, memory(piece) + done, size, cudaMemcpyDeviceToHost, context.stream());
    });
  settle();
}

}  // namespace onehead::cuda
