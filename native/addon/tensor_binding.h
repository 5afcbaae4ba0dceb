// The JavaScript class Tensor: memory of a device, or a temporary of a recording.
#pragma once

#include <memory>

#include "device_binding.h"

namespace onehead::addon {

/** Refuses a program's temporary, and a view of columns. */
void requireMemory(const Tensor& tensor, const char* operation);
/** Elements of a typed array to write, converted to the tensor's type. Throws Error if they do not fit. */
Piece pieceToWrite(const Tensor& tensor, const Napi::Value& array, const Napi::Value& element, const char* operation);
/** Elements to read. Throws Error if they are not within the tensor. */
Piece pieceToRead(const Tensor& tensor, const Napi::Value& element, const Napi::Value& elements, const char* operation);
/** Elements that were read as a typed array; all floating types become float32. */
Napi::Value typedArrayOf(Napi::Env env, const Bytes& bytes, DType dtype);

class TensorBinding final : public Napi::ObjectWrap<TensorBinding> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  static Napi::Object make(Napi::Env env, Tensor tensor, std::shared_ptr<SharedDevice> device);
  static constexpr uint64_t tag = 1;
  explicit TensorBinding(const Napi::CallbackInfo& info);
  ~TensorBinding() override;

  /** The tensor. Throws Error DISPOSED, naming operation and argument, if it has been disposed. */
  const Tensor& use(const std::string& operation, const std::string& argument) const;
  /** The same for an operation of a device. Throws Error INVALID_ARGUMENT if the tensor is another device's. */
  const Tensor& useOn(const std::shared_ptr<SharedDevice>& device, const std::string& operation,
                      const std::string& argument) const;
  static TensorBinding& of(const Napi::Value& value, const std::string& operation, const std::string& argument);

 private:
  Napi::Value write(const Napi::CallbackInfo& info);    // (typed array, element): Promise<void>
  Napi::Value read(const Napi::CallbackInfo& info);     // (element, elements): Promise<typed array>
  Napi::Value columns(const Napi::CallbackInfo& info);  // (begin, count): Tensor
  Napi::Value slice(const Napi::CallbackInfo& info);    // (index): Tensor
  Napi::Value part(const Napi::CallbackInfo& info);     // (at, shape): Tensor
  Napi::Value reshape(const Napi::CallbackInfo& info);  // (shape): Tensor
  Napi::Value view(Napi::Env env, Tensor tensor) const;
  void dispose(const Napi::CallbackInfo& info);
  Napi::Value disposed(const Napi::CallbackInfo& info);
  Napi::Value dtype(const Napi::CallbackInfo& info);
  Napi::Value shape(const Napi::CallbackInfo& info);
  void release(Napi::Env env);
  void report(Napi::Env env, int64_t bytes);

  Tensor tensor_;
  std::shared_ptr<SharedDevice> device_;
  bool disposed_ = false;
  int64_t reported_ = 0;  // bytes reported to V8
};

}  // namespace onehead::addon
