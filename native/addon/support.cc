#include "support.h"

#include <algorithm>
#include <cmath>

namespace onehead::addon {

namespace {

/** At most 100 bytes of a text, in whole characters. */
std::string shortened(std::string text) {
  size_t length = 100;
  if (text.size() <= length) return text;
  while (length > 0 && (text[length] & 0xc0) == 0x80) --length;
  return text.substr(0, length) + " ...";
}

std::string listed(const Napi::Array& list) {
  constexpr uint32_t maxItems = 20;
  if (list.Length() == 0) return "an empty list";
  std::string items;
  for (uint32_t i = 0; i < std::min(list.Length(), maxItems); ++i) {
    const Napi::Value item = list.Get(i);
    items += (i ? ", " : "") + (item.IsArray() ? "[...]" : described(item));
  }
  return shortened("[" + items) + "]";
}

/** The name of the object's class. */
std::string classOf(const Napi::Object& object) {
  const Napi::Value constructor = object.Get("constructor");
  const Napi::Value name = constructor.IsFunction() ? constructor.As<Napi::Object>().Get("name") : constructor;
  const std::string text = name.IsString() ? shortened(name.As<Napi::String>().Utf8Value()) : "";
  return text.empty() || text == "Object" ? "an object" : text;
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

std::string described(const Napi::Value& value) {
  switch (value.Type()) {
    case napi_string: {
      const std::string text = value.As<Napi::String>().Utf8Value();
      return text.empty() ? "an empty string" : "'" + shortened(text) + "'";
    }
    case napi_function:
      return "a function";
    case napi_bigint:
      return "a bigint";
    case napi_symbol:
      return "a symbol";
    case napi_object:
    case napi_external:
      break;
    default:
      return value.ToString().Utf8Value();
  }
  try {
    return value.IsArray() ? listed(value.As<Napi::Array>()) : classOf(value.As<Napi::Object>());
  } catch (const Napi::Error&) {  // of a getter
    return "an object";
  }
}

void refuse(const std::string& name, const std::string& expected, const Napi::Value& value) {
  throw Error("INVALID_ARGUMENT",
              "Expected " + name + " to be " + expected + " but received " + described(value) + ".");
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
  if (array.Length() > maxDimensions) refuse(name, "an array of at most 8 sizes", value);
  Shape shape;
  double elements = 1;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    shape.push_back(sizeOf(array.Get(i), name));
    elements *= double(shape.back());
    if (elements > double(maxElements) || shape.back() > maxElements)
      refuse(name, "a shape of at most 2^40 elements", value);
  }
  return shape;
}

Napi::Float32Array float32Of(const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array)
    refuse(name, "a Float32Array", value);
  return value.As<Napi::Float32Array>();
}

const cpu::Kernels& kernelsOf(const Napi::Value& value) {
  const cpu::Kernels* found = value.IsUndefined() ? cpu::kernels() : cpu::kernels(textOf(value, "kernels").c_str());
  if (found) return *found;
  throw Error("NOT_SUPPORTED", "Expected kernels that this CPU has but received " + described(value) +
                                   "; run `onehead doctor` to list them.");
}

}  // namespace onehead::addon
