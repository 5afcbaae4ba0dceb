// Shared by all bindings: data of the environment, conversion of errors, and checked arguments.
#pragma once

#include <napi.h>

#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "../core/device.h"
#include "../core/error.h"
#include "../cpu/kernels.h"

namespace onehead::addon {

/** Data of one environment (main thread or worker). */
struct Instance {
  Napi::FunctionReference errorClass;  // OneheadError of lib/errors.ts, passed to `initialize`
  Napi::FunctionReference deviceClass, tensorClass, recorderClass, programClass, fileClass;
};

inline Instance& instanceOf(Napi::Env env) { return *env.GetInstanceData<Instance>(); }

/** Converts a native error to a JavaScript one, constructed by OneheadError's own constructor. */
Napi::Value toError(Napi::Env env, std::exception_ptr failure);

/** Runs a binding's body. Native exceptions become JavaScript errors; no other exception crosses the N-API boundary. */
template <class Body>
auto guarded(Napi::Env env, Body body) -> decltype(body()) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;  // a pending JavaScript exception
  } catch (...) {
    Napi::Value error = toError(env, std::current_exception());
    throw Napi::Error(env, error);
  }
}

/** Describes a value for a message, as `described` of lib/checks.ts does. Errors of its getters are caught. */
std::string described(const Napi::Value& value);
/** Throws Error INVALID_ARGUMENT: "Expected streams to be an array but received 5." */
[[noreturn]] void refuse(const std::string& name, const std::string& expected, const Napi::Value& value);

/** Checked conversions of JavaScript values; `name` is used in error messages. */
std::string textOf(const Napi::Value& value, const char* name);
double numberOf(const Napi::Value& value, const char* name);
/** An integer from 0 to 2^53 - 1. */
int64_t sizeOf(const Napi::Value& value, const char* name);
Napi::Object objectOf(const Napi::Value& value, const char* name);
DType dtypeOf(const Napi::Value& value, const char* name);
Shape shapeOf(const Napi::Value& value, const char* name);
Napi::Float32Array float32Of(const Napi::Value& value, const char* name);
/** The CPU kernels of this name; the best ones if undefined. */
const cpu::Kernels& kernelsOf(const Napi::Value& value);

/** Differs between copies of the addon in one process. */
uint64_t addonIdentity();
template <class Class>
napi_type_tag tagOf() {
  return {addonIdentity(), Class::tag};
}
/** Marks an object as one of our class, in its constructor. A prototype can be changed, the tag cannot. */
template <class Class>
void tagObject(const Napi::CallbackInfo& info) {
  const napi_type_tag tag = tagOf<Class>();
  info.This().As<Napi::Object>().TypeTag(&tag);
}
template <class Class>
bool hasTag(const Napi::Value& value) {
  const napi_type_tag tag = tagOf<Class>();
  return value.IsObject() && value.As<Napi::Object>().CheckTypeTag(&tag);
}
/** For accessors: unlike methods, they can be called on an object of another class. */
template <class Class>
void requireTag(const Napi::CallbackInfo& info) {
  if (!hasTag<Class>(info.This())) throw Napi::TypeError::New(info.Env(), "Illegal invocation");
}
/** `value` as an instance of one of our classes; null if it is none. */
template <class Class>
Class* instanceAs(const Napi::Value& value) {
  return hasTag<Class>(value) ? Class::Unwrap(value.As<Napi::Object>()) : nullptr;
}

}  // namespace onehead::addon
