#include "support.h"

#include <cmath>

namespace onehead::addon {

namespace {

[[noreturn]] void refuse(const char* name, const char* expected, const Napi::Value& value) {
  std::string received = napi_undefined == value.Type() ? "undefined" : value.ToString().Utf8Value().substr(0, 100);
  throw Error("INVALID_ARGUMENT",
              "Expected " + std::string(name) + " to be " + expected + " but received " + received + ".");
}

Napi::Value make(Napi::Env env, const Error& error) {
  Instance& instance = instanceOf(env);
  if (instance.errorClass.IsEmpty()) return Napi::Error::New(env, error.what()).Value();
  Napi::Object details = Napi::Object::New(env);
  auto set = [&](const char* name, const std::string& text) {
    if (!text.empty()) details.Set(name, text);
  };
  set("operation", error.operation);
  set("argument", error.argument);
  set("expected", error.expected);
  set("received", error.received);
  return instance.errorClass.New({Napi::String::New(env, error.code), Napi::String::New(env, error.what()), details});
}

}  // namespace

Napi::Value toError(Napi::Env env, std::exception_ptr failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    return make(env, error);
  } catch (const std::bad_alloc&) {
    return make(env, Error("OUT_OF_MEMORY", "The process ran out of memory; use a smaller model or batch."));
  } catch (const std::exception& error) {
    return make(env, Error("DEVICE_FAILED", std::string("The device failed: ") + error.what() + "."));
  } catch (...) {
    return make(env, Error("DEVICE_FAILED", "The device failed for an unknown reason."));
  }
}

uint64_t addonIdentity() {
  static const char anchor = 0;
  return reinterpret_cast<uintptr_t>(&anchor);
}

std::string textOf(const Napi::Value& value, const char* name) {
  if (!value.IsString()) refuse(name, "a string", value);
  return value.As<Napi::String>().Utf8Value();
}

double numberOf(const Napi::Value& value, const char* name) {
  if (!value.IsNumber()) refuse(name, "a number", value);
  return value.As<Napi::Number>().DoubleValue();
}

int64_t sizeOf(const Napi::Value& value, const char* name) {
  double number = numberOf(value, name);
  if (!(number >= 0 && number <= 0x1p53 - 1 && std::floor(number) == number))
    refuse(name, "a whole number of at least 0", value);
  return int64_t(number);
}

Napi::Object objectOf(const Napi::Value& value, const char* name) {
  if (!value.IsObject()) refuse(name, "an object", value);
  return value.As<Napi::Object>();
}

DType dtypeOf(const Napi::Value& value, const char* name) {
  auto dtype = dtypeNamed(textOf(value, name));
  if (!dtype) refuse(name, "'float32', 'float16', 'bfloat16', 'int32', 'uint8' or 'int8'", value);
  return *dtype;
}

Shape shapeOf(const Napi::Value& value, const char* name) {
  if (!value.IsArray()) refuse(name, "an array of sizes", value);
  auto array = value.As<Napi::Array>();
  constexpr uint32_t maxDimensions = 8;
  constexpr double maxElements = 0x1p40;
  if (array.Length() > maxDimensions) refuse(name, "an array of at most 8 sizes", value);
  Shape shape;
  double elements = 1;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    shape.push_back(sizeOf(array.Get(i), name));
    elements *= double(shape.back());
    if (elements > maxElements || shape.back() > int64_t(maxElements))
      refuse(name, "a shape of at most 2^40 elements", value);
  }
  return shape;
}

}  // namespace onehead::addon
