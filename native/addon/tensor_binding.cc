#include "tensor_binding.h"

#include <cstring>

namespace onehead::addon {

void TensorBinding::define(Napi::Env env, Napi::Object exports) {
  Napi::Function constructor = DefineClass(
      env, "Tensor",
      {InstanceMethod<&TensorBinding::write>("write"), InstanceMethod<&TensorBinding::read>("read"),
       InstanceMethod<&TensorBinding::columns>("columns"), InstanceMethod<&TensorBinding::slice>("slice"),
       InstanceMethod<&TensorBinding::part>("part"), InstanceMethod<&TensorBinding::reshape>("reshape"),
       InstanceMethod<&TensorBinding::dispose>("dispose"), InstanceAccessor<&TensorBinding::disposed>("disposed"),
       InstanceAccessor<&TensorBinding::dtype>("dtype"), InstanceAccessor<&TensorBinding::shape>("shape")});
  instanceOf(env).tensorClass = Napi::Persistent(constructor);
  exports.Set("Tensor", constructor);
}

Napi::Object TensorBinding::make(Napi::Env env, Tensor tensor, std::shared_ptr<SharedDevice> device) {
  Napi::Object object = instanceOf(env).tensorClass.New({});
  TensorBinding* binding = Unwrap(object);
  if (tensor.storage) {
    binding->report(env, int64_t(tensor.bytes()));
  }
  binding->tensor_ = std::move(tensor);
  binding->device_ = std::move(device);
  binding->disposed_ = false;
  return object;
}

// Tensors are created by `make`; one that is constructed from JavaScript has no memory and counts as disposed.
TensorBinding::TensorBinding(const Napi::CallbackInfo& info) : ObjectWrap(info), disposed_(true) {
  tagObject<TensorBinding>(info);
}

TensorBinding::~TensorBinding() { release(Env()); }

void TensorBinding::release(Napi::Env env) {
  report(env, 0);
  tensor_.storage.reset();
  disposed_ = true;
}

/** Reports the memory of this object to V8. Finalizers call it too, so it must not throw. */
void TensorBinding::report(Napi::Env env, int64_t bytes) {
  int64_t total;
  napi_adjust_external_memory(env, bytes - reported_, &total);  // fails in a closing environment, which is fine
  reported_ = bytes;
}

TensorBinding& TensorBinding::of(const Napi::Value& value, const std::string& operation, const std::string& argument) {
  if (TensorBinding* tensor = instanceAs<TensorBinding>(value)) return *tensor;
  throw Error::argumentError("INVALID_ARGUMENT", operation, argument, "a Tensor", described(value));
}

const Tensor& TensorBinding::use(const std::string& operation, const std::string& argument) const {
  if (disposed_) {
    Error error("DISPOSED", operation + ": " + argument + " has been disposed; use it before dispose().");
    error.operation = operation;
    error.argument = argument;
    throw error;
  }
  return tensor_;
}

const Tensor& TensorBinding::useOn(const std::shared_ptr<SharedDevice>& device, const std::string& operation,
                                   const std::string& argument) const {
  if (device_ != device)
    throw Error::argumentError("INVALID_ARGUMENT", operation, argument, "a tensor of this device",
                               "a tensor of another device");
  return use(operation, argument);
}

void requireMemory(const Tensor& tensor, const char* operation) {
  if (!tensor.storage)
    throw Error("INVALID_ARGUMENT", std::string(operation) +
                                        ": a program's temporary cannot be accessed from outside; pass the operation "
                                        "an `output` tensor instead.");
  if (!tensor.contiguous())
    throw Error("INVALID_ARGUMENT",
                std::string(operation) + ": expected a contiguous tensor but received a view of some columns.");
}

namespace {

struct Range {
  int64_t begin, count;
};

/** A checked range of elements of a tensor that has its own memory. */
Range rangeOf(const Tensor& tensor, const char* operation, int64_t begin, int64_t count) {
  requireMemory(tensor, operation);
  if (begin > tensor.elements() || count > tensor.elements() - begin)
    throw Error("INVALID_SHAPE", std::string(operation) + ": elements " + std::to_string(begin) + " to " +
                                     std::to_string(begin + count) + " are not all within " + tensor.description() +
                                     ".");
  return {begin, count};
}

}  // namespace

Piece pieceToWrite(const Tensor& tensor, const Napi::Value& value, const Napi::Value& element, const char* operation) {
  const std::string name = operation;
  if (!value.IsTypedArray())
    throw Error::argumentError("INVALID_ARGUMENT", name, "the data", "a typed array", described(value));
  auto array = value.As<Napi::TypedArray>();
  DType from;
  switch (array.TypedArrayType()) {
    case napi_float32_array:
      from = DType::float32;
      break;
    case napi_int32_array:
      from = DType::int32;
      break;
    case napi_uint8_array:
    case napi_uint8_clamped_array:
      from = DType::uint8;
      break;
    case napi_int8_array:
      from = DType::int8;
      break;
    case napi_uint16_array:  // bits of a 16-bit float
      from = bytesOf(tensor.dtype) == 2 ? tensor.dtype : DType::uint8;
      break;
    default:
      throw Error::argumentError("INVALID_DTYPE", name, "the data",
                                 "a Float32Array, Int32Array, Uint16Array, Uint8Array or Int8Array", described(value));
  }
  bool converts = isFloating(from) && isFloating(tensor.dtype);
  if (from != tensor.dtype && !converts)
    throw Error::argumentError("INVALID_DTYPE", name, "the array", std::string(nameOf(tensor.dtype)),
                               std::string(nameOf(from)));
  Range range = rangeOf(tensor, operation, sizeOf(element, "element"), int64_t(array.ElementLength()));
  // The caller may change the array as soon as this returns, so the elements are copied now.
  Piece piece{tensor.storage, size_t(tensor.offset + range.begin) * bytesOf(tensor.dtype),
              Bytes(size_t(range.count) * bytesOf(tensor.dtype))};
  // Napi::ArrayBuffer refuses a SharedArrayBuffer.
  void* data = nullptr;
  if (napi_get_typedarray_info(value.Env(), value, nullptr, nullptr, &data, nullptr, nullptr) != napi_ok)
    throw Napi::Error::New(value.Env());
  if (range.count > 0) convert(data, from, piece.bytes.data(), tensor.dtype, size_t(range.count));
  return piece;
}

Piece pieceToRead(const Tensor& tensor, const Napi::Value& element, const Napi::Value& elements,
                  const char* operation) {
  Range range = rangeOf(tensor, operation, sizeOf(element, "element"), sizeOf(elements, "elements"));
  return {tensor.storage, size_t(tensor.offset + range.begin) * bytesOf(tensor.dtype),
          Bytes(size_t(range.count) * bytesOf(tensor.dtype))};
}

Napi::Value typedArrayOf(Napi::Env env, const Bytes& bytes, DType dtype) {
  DType to = isFloating(dtype) ? DType::float32 : dtype;
  const size_t count = bytes.size() / bytesOf(dtype);
  Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(env, count * bytesOf(to));
  if (count > 0) convert(bytes.data(), dtype, buffer.Data(), to, count);
  if (to == DType::int32) return Napi::Int32Array::New(env, count, buffer, 0);
  if (to == DType::int8) return Napi::Int8Array::New(env, count, buffer, 0);
  if (to == DType::uint8) return Napi::Uint8Array::New(env, count, buffer, 0);
  return Napi::Float32Array::New(env, count, buffer, 0);
}

Napi::Value TensorBinding::write(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    auto piece = std::make_shared<Piece>(pieceToWrite(use("write", "this tensor"), info[0], info[1], "write"));
    return device_->submit(
        info.Env(),
        [device = device_.get(), piece](const std::atomic<bool>&) {
          if (!piece->bytes.empty())
            device->backend().write(*piece->storage, piece->offset, piece->bytes.data(), piece->bytes.size());
        },
        [](Napi::Env env) { return env.Undefined(); });
  });
}

Napi::Value TensorBinding::read(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const Tensor& tensor = use("read", "this tensor");
    auto piece = std::make_shared<Piece>(pieceToRead(tensor, info[0], info[1], "read"));
    return device_->submit(
        info.Env(),
        [device = device_.get(), piece](const std::atomic<bool>&) {
          if (!piece->bytes.empty())
            device->backend().read(*piece->storage, piece->offset, piece->bytes.data(), piece->bytes.size());
          piece->storage.reset();  // release it with the job, not with its result
        },
        [piece, dtype = tensor.dtype](Napi::Env env) { return typedArrayOf(env, piece->bytes, dtype); });
  });
}

Napi::Value TensorBinding::columns(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    Tensor view = use("columns", "this tensor");
    int64_t begin = sizeOf(info[0], "begin"), count = sizeOf(info[1], "count");
    if (view.shape.empty() || count == 0 || begin > view.columns() || count > view.columns() - begin)
      throw Error("INVALID_SHAPE", "columns: " + std::to_string(begin) + " to " + std::to_string(begin + count) +
                                       " are not all within " + toString(view.shape) + ".");
    view.offset += begin;
    view.shape.back() = count;
    return this->view(info.Env(), std::move(view));
  });
}

Napi::Value TensorBinding::slice(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    Tensor view = use("slice", "this tensor");
    int64_t index = sizeOf(info[0], "index");
    if (view.shape.size() < 2 || !view.contiguous() || index >= view.shape[0])
      throw Error("INVALID_SHAPE", "slice: " + std::to_string(index) + " is not an index of the first dimension of " +
                                       toString(view.shape) + ".");
    view.offset += index * (view.elements() / view.shape[0]);
    view.shape.erase(view.shape.begin());
    return this->view(info.Env(), std::move(view));
  });
}

Napi::Value TensorBinding::reshape(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    Tensor view = use("reshape", "this tensor");
    Shape shape = shapeOf(info[0], "shape");
    if (!view.contiguous() || elementsOf(shape) != view.elements())
      throw Error("INVALID_SHAPE", "reshape: " + toString(view.shape) + " and " + toString(shape) +
                                       " differ in their number of elements.");
    view.rowStride = shape.empty() ? 1 : shape.back();
    view.shape = std::move(shape);
    return this->view(info.Env(), std::move(view));
  });
}

Napi::Value TensorBinding::part(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    Tensor view = use("part", "this tensor");
    int64_t at = sizeOf(info[0], "at");
    Shape shape = shapeOf(info[1], "shape");
    const int64_t elements = elementsOf(shape);
    if (!view.contiguous() || at > view.elements() || elements > view.elements() - at)
      throw Error("INVALID_SHAPE", "part: " + toString(shape) + " from element " + std::to_string(at) +
                                       " on is not all within " + toString(view.shape) + ".");
    view.offset += at;
    view.rowStride = shape.empty() ? 1 : shape.back();
    view.shape = std::move(shape);
    return this->view(info.Env(), std::move(view));
  });
}

/** A view of this tensor's memory; it keeps the memory alive but does not report it to V8. */
Napi::Value TensorBinding::view(Napi::Env env, Tensor tensor) const {
  Napi::Object object = make(env, std::move(tensor), device_);
  TensorBinding* binding = Unwrap(object);
  binding->report(env, 0);
  return object;
}

void TensorBinding::dispose(const Napi::CallbackInfo& info) { release(info.Env()); }

Napi::Value TensorBinding::disposed(const Napi::CallbackInfo& info) {
  requireTag<TensorBinding>(info);
  return Napi::Boolean::New(info.Env(), disposed_);
}

Napi::Value TensorBinding::dtype(const Napi::CallbackInfo& info) {
  requireTag<TensorBinding>(info);
  return Napi::String::New(info.Env(), std::string(nameOf(tensor_.dtype)));
}

Napi::Value TensorBinding::shape(const Napi::CallbackInfo& info) {
  requireTag<TensorBinding>(info);
  Napi::Array array = Napi::Array::New(info.Env(), tensor_.shape.size());
  for (size_t i = 0; i < tensor_.shape.size(); ++i) array.Set(uint32_t(i), double(tensor_.shape[i]));
  return array;
}

}  // namespace onehead::addon
