// The JavaScript class Device: opens a backend, creates tensors and programs, and settles promises when the device's
// thread has finished the work.
#pragma once

#include <memory>

#include "support.h"

namespace onehead::addon {

/** A device, and the means to notify its environment's event loop. Tensors and programs keep it alive. */
class SharedDevice : public std::enable_shared_from_this<SharedDevice> {
 public:
  SharedDevice(Napi::Env env, std::shared_ptr<Backend> backend);
  ~SharedDevice();

  using Work = std::function<void(const std::atomic<bool>& cancelled)>;
  /** Makes the promise's value; called on the event loop. */
  using Result = std::function<Napi::Value(Napi::Env)>;
  /** Runs the work on the device's thread and returns a promise of the result. A pending promise keeps the process
   * alive. */
  Napi::Value submit(Napi::Env env, Work work, Result result, std::shared_ptr<std::atomic<bool>> cancelled = nullptr);
  Backend& backend() { return device_.backend(); }
  void requireOpen() const;
  /** For work that closing the device ends early: its promise is rejected as those of waiting work are. */
  void requireNotClosed() const;
  void close();

 private:
  struct Pending;
  static void settle(Napi::Env env, Napi::Function, std::nullptr_t*, Pending* pending);
  using Settler = Napi::TypedThreadSafeFunction<std::nullptr_t, Pending, &SharedDevice::settle>;
  static void closeWithEnvironment(void* self);

  napi_env env_;
  Device device_;
  Settler settler_;     // after the device: if that cannot start its thread, nothing may keep the process alive
  size_t pending_ = 0;  // only accessed on the event loop
  bool closed_ = false;
};

class DeviceBinding final : public Napi::ObjectWrap<DeviceBinding> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  explicit DeviceBinding(const Napi::CallbackInfo& info);
  ~DeviceBinding() override;

  const std::shared_ptr<SharedDevice>& shared() const { return shared_; }

 private:
  Napi::Value createTensor(const Napi::CallbackInfo& info);  // (dtype, shape): Tensor
  Napi::Value load(const Napi::CallbackInfo& info);          // (dtype, shape, parts): Promise<Tensor>
  Napi::Value quantize(const Napi::CallbackInfo& info);      // (shape, parts): Promise<{data, scales, error}>
  Napi::Value createRecorder(const Napi::CallbackInfo& info);
  Napi::Value copy(const Napi::CallbackInfo& info);      // (from, fromElement, to, toElement, elements): Promise<void>
  Napi::Value transfer(const Napi::CallbackInfo& info);  // ([tensor, array, element][], [tensor, element, elements][])
  Napi::Value memory(const Napi::CallbackInfo& info);    // (): {inUse, peak, allocations}
  void close(const Napi::CallbackInfo& info);

  std::shared_ptr<SharedDevice> shared_;
};

}  // namespace onehead::addon
