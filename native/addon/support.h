// What every binding shares: the instance of this environment, errors across the border, checked arguments.
#pragma once

#include <napi.h>

#include <exception>
#include <string>
#include <vector>

#include "../core/device.h"
#include "../core/error.h"

namespace onehead::addon {

/** What one environment (main thread or worker) holds. */
struct Instance {
  Napi::FunctionReference errorClass;  // lib/errors.ts's OneheadError, handed over by `initialize`
  Napi::FunctionReference deviceClass, tensorClass, recorderClass, programClass, fileClass;
};

inline Instance& instanceOf(Napi::Env env) { return *env.GetInstanceData<Instance>(); }

/** The JavaScript error for a native one; made in JavaScript, so that its class and fields are those of lib/errors.ts.
 */
Napi::Value toError(Napi::Env env, std::exception_ptr failure);

/** Runs a binding's body: native errors become JavaScript ones, and nothing else crosses the border. */
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

/** Checked reads of JavaScript values; `name` stands in the error's sentence. */
std::string textOf(const Napi::Value& value, const char* name);
double numberOf(const Napi::Value& value, const char* name);
/** A whole number from 0 to 2^53 - 1. */
int64_t sizeOf(const Napi::Value& value, const char* name);
Napi::Object objectOf(const Napi::Value& value, const char* name);
DType dtypeOf(const Napi::Value& value, const char* name);
Shape shapeOf(const Napi::Value& value, const char* name);
/** `value` as an instance of one of our classes; the reference is one of Instance's. */
template <class Class>
Class& instanceAs(const Napi::Value& value, const Napi::FunctionReference& constructor, const char* name,
                  const char* kind) {
  if (!value.IsObject() || !value.As<Napi::Object>().InstanceOf(constructor.Value()))
    throw Error("INVALID_ARGUMENT", "Expected " + std::string(name) + " to be " + kind + ".");
  return *Class::Unwrap(value.As<Napi::Object>());
}

}  // namespace onehead::addon
