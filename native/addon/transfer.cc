#include "transfer.h"

#include <cstring>

#include "tensor_binding.h"

namespace onehead::addon {

namespace {

/** Calls `take` for each element of a list of calls, which are arrays of arguments. The list may be undefined. */
template <class Take>
void eachCall(const Napi::Value& value, const char* operation, const char* name, Take take) {
  auto requireArray = [&](const Napi::Value& given) {
    if (!given.IsArray())
      throw Error::argumentError("INVALID_ARGUMENT", operation, name, "an array of arrays", described(given));
  };
  if (value.IsUndefined()) return;
  requireArray(value);
  auto calls = value.As<Napi::Array>();
  for (uint32_t i = 0; i < calls.Length(); ++i) {
    Napi::Value call = calls.Get(i);
    requireArray(call);
    take(call.As<Napi::Array>());
  }
}

const Tensor& tensorOf(const Napi::Value& value, const std::shared_ptr<SharedDevice>& device, const char* operation) {
  return TensorBinding::of(value, operation, "tensor").useOn(device, operation, "tensor");
}

Piece pieceOf(const Tensor& tensor, int64_t element, int64_t elements) {
  const size_t bytes = bytesOf(tensor.dtype);
  return {tensor.storage, size_t(tensor.offset + element) * bytes, Bytes(size_t(elements) * bytes)};
}

/** Releases storage with the job, not with its result. */
void letGo(std::vector<Piece>& pieces) {
  for (Piece& piece : pieces) piece.storage.reset();
}

}  // namespace

std::shared_ptr<Transfer> Transfer::of(const Napi::Value& writes, const Napi::Value& reads,
                                       const std::shared_ptr<SharedDevice>& device, const char* operation) {
  auto made = std::make_shared<Transfer>();
  eachCall(writes, operation, "writes", [&](const Napi::Array& call) {
    const Tensor& tensor = tensorOf(call.Get(0u), device, operation);
    made->writes.push_back(pieceToWrite(tensor, call.Get(1), call.Get(2), operation));
  });
  eachCall(reads, operation, "reads", [&](const Napi::Array& call) {
    const Tensor& tensor = tensorOf(call.Get(0u), device, operation);
    made->reads.push_back(pieceToRead(tensor, call.Get(1), call.Get(2), operation));
    made->types.push_back(tensor.dtype);
  });
  return made;
}

void Transfer::write(Backend& backend) {
  std::vector<Piece> none;
  if (!writes.empty()) backend.transfer(writes, none);
  writes.clear();
}

void Transfer::read(Backend& backend) {
  if (!reads.empty()) backend.transfer({}, reads);
  letGo(reads);
}

Napi::Array Transfer::arrays(Napi::Env env) const {
  Napi::Array made = Napi::Array::New(env, reads.size());
  for (size_t i = 0; i < reads.size(); ++i) made.Set(uint32_t(i), typedArrayOf(env, reads[i].bytes, types[i]));
  return made;
}

std::shared_ptr<RowReads> RowReads::of(const Napi::Value& tensors, const Tensor& flags,
                                       const std::shared_ptr<SharedDevice>& device, const char* operation) {
  if (tensors.IsUndefined()) return nullptr;
  if (!tensors.IsArray())
    throw Error::argumentError("INVALID_ARGUMENT", operation, "rows", "an array of tensors", described(tensors));
  if (!flags.storage)
    throw Error::argumentError("INVALID_ARGUMENT", operation, "until", "given together with rows", "nothing");
  auto made = std::make_shared<RowReads>();
  made->flags_ = flags;
  auto list = tensors.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const Tensor& tensor = tensorOf(list.Get(i), device, operation);
    if (!tensor.storage || !tensor.contiguous() || tensor.shape.empty() || tensor.shape[0] != flags.elements())
      throw Error::argumentError("INVALID_SHAPE", operation, "rows",
                                 "tensors of " + std::to_string(flags.elements()) + " rows", tensor.description());
    made->tensors_.push_back(tensor);
    made->types_.push_back(tensor.dtype);
  }
  return made;
}

void RowReads::read(Backend& backend) {
  std::vector<Piece> flags{pieceOf(flags_, 0, flags_.elements())};
  backend.transfer({}, flags);
  std::vector<int32_t> values(size_t(flags_.elements()));
  std::memcpy(values.data(), flags[0].bytes.data(), flags[0].bytes.size());
  for (size_t row = 0; row < values.size(); ++row) {
    if (values[row] == 0) continue;
    rows_.push_back(int32_t(row));
    for (const Tensor& tensor : tensors_) {
      const int64_t width = tensor.elements() / tensor.shape[0];
      pieces_.push_back(pieceOf(tensor, int64_t(row) * width, width));
    }
  }
  if (!pieces_.empty()) backend.transfer({}, pieces_);
  letGo(pieces_);
  tensors_.clear();
  flags_.storage.reset();
}

Napi::Array RowReads::arrays(Napi::Env env) const {
  Napi::Array made = Napi::Array::New(env, rows_.size());
  const size_t count = types_.size();
  for (size_t row = 0; row < rows_.size(); ++row) {
    Napi::Array one = Napi::Array::New(env, count + 1);
    one.Set(0u, double(rows_[row]));
    for (size_t i = 0; i < count; ++i)
      one.Set(uint32_t(i + 1), typedArrayOf(env, pieces_[row * count + i].bytes, types_[i]));
    made.Set(uint32_t(row), one);
  }
  return made;
}

}  // namespace onehead::addon
