// How the checks of operations read the arguments of a request.
#pragma once

#include <cmath>
#include <map>

#include "../operations/operations.h"
#include "error.h"
#include "program.h"

namespace onehead {

/** Reads a request's arguments, and refuses invalid ones in one sentence. */
class Arguments {
 public:
  Arguments(const Request& request, Recorder& recorder) : request_(request), recorder_(recorder) {}

  [[noreturn]] void refuse(const char* code, const std::string& argument, const std::string& expected,
                           const std::string& received) const {
    throw Error::argumentError(code, request_.operation, argument, expected, received);
  }
  bool has(const std::string& name) const {
    read_.emplace(name, aTensor);
    return request_.tensors.contains(name);
  }

  const Tensor& tensor(const std::string& name) const {
    auto found = request_.tensors.find(name);
    read_.emplace(name, aTensor);
    if (found == request_.tensors.end()) refuse("INVALID_ARGUMENT", name, "a tensor", "nothing");
    return found->second;
  }
  /** A tensor with this many dimensions, none of them empty; its rows are contiguous unless `view` is allowed. */
  const Tensor& tensor(const std::string& name, size_t dimensions, bool view = false) const {
    const Tensor& found = tensor(name);
    if (found.shape.size() != dimensions)
      refuse("INVALID_SHAPE", name, "a tensor of " + std::to_string(dimensions) + " dimensions", toString(found.shape));
    for (int64_t size : found.shape)
      if (size <= 0) refuse("INVALID_SHAPE", name, "without empty dimensions", toString(found.shape));
    if (!view && !found.contiguous()) refuse("INVALID_ARGUMENT", name, "contiguous", "a view of some columns");
    return found;
  }
  const Tensor& shaped(const std::string& name, const Shape& shape, bool view = false) const {
    const Tensor& found = tensor(name, shape.size(), view);
    if (found.shape != shape) refuse("INVALID_SHAPE", name, toString(shape), toString(found.shape));
    return found;
  }
  const Tensor& typed(const Tensor& tensor, const std::string& name, DType dtype) const {
    if (tensor.dtype != dtype)
      refuse("INVALID_DTYPE", name, std::string(nameOf(dtype)), std::string(nameOf(tensor.dtype)));
    return tensor;
  }
  const Tensor& shaped(const std::string& name, const Shape& shape, DType dtype) const {
    return typed(shaped(name, shape), name, dtype);
  }
  std::optional<Tensor> maybe(const std::string& name, const Shape& shape, DType dtype) const {
    return has(name) ? std::optional(shaped(name, shape, dtype)) : std::nullopt;
  }
  const Tensor& floating(const Tensor& tensor, const std::string& name) const {
    if (!isFloating(tensor.dtype))
      refuse("INVALID_DTYPE", name, "float32, float16 or bfloat16", std::string(nameOf(tensor.dtype)));
    return tensor;
  }

  double number(const std::string& name, std::optional<double> otherwise = {}) const {
    auto found = request_.numbers.find(name);
    read_.emplace(name, aNumber);
    if (found != request_.numbers.end()) return found->second;
    if (!otherwise) refuse("INVALID_ARGUMENT", name, "a number", "nothing");
    return *otherwise;
  }
  int64_t integer(const std::string& name, int64_t low, int64_t high, std::optional<double> otherwise = {}) const {
    double value = number(name, otherwise);
    if (!(std::floor(value) == value && value >= double(low) && value <= double(high)))
      refuse("INVALID_ARGUMENT", name, "a whole number from " + std::to_string(low) + " to " + std::to_string(high),
             std::to_string(value));
    return int64_t(value);
  }
  template <class T>
  T choice(const std::string& name, const std::vector<std::pair<std::string, T>>& choices,
           const std::string& otherwise) const {
    auto found = request_.strings.find(name);
    read_.emplace(name, aString);
    const std::string value = found == request_.strings.end() ? otherwise : found->second;
    const bool few = choices.size() <= 2;
    std::string expected = few ? "" : "one of ";
    for (size_t i = 0; i < choices.size(); ++i) {
      if (value == choices[i].first) return choices[i].second;
      expected += (i == 0 ? "'" : few ? " or '" : ", '") + choices[i].first + "'";
    }
    refuse("INVALID_ARGUMENT", name, expected, "'" + value.substr(0, 100) + "'");
  }
  Activation activation() const {
    return choice<Activation>("activation", {{"none", Activation::none}, {"gelu", Activation::gelu}}, "none");
  }
  DType dtype(DType otherwise) const {
    return choice<DType>("dtype",
                         {{"float32", DType::float32}, {"float16", DType::float16}, {"bfloat16", DType::bfloat16}},
                         std::string(nameOf(otherwise)));
  }

  /** The tensor `output` if given, otherwise a new temporary. The output may be the argument `inPlace`, but otherwise
   * shares no memory with others: kernels write it while they read them. */
  Tensor output(DType dtype, const Shape& shape, const std::string& inPlace = "") const {
    if (!has("output")) return recorder_.temporary(dtype, shape);
    const Tensor& found = typed(shaped("output", shape), "output", dtype);
    for (const auto& [name, tensor] : request_.tensors)
      if (name != "output" && found.overlaps(tensor) && !(name == inPlace && found.isSame(tensor)))
        refuse("INVALID_ARGUMENT", "output", "in memory that no other argument uses", "memory that " + name + " uses");
    return found;
  }

  /** Refuses more elements in scratch memory than a tensor may have, so that counts of their bytes do not overflow. */
  void requireCountable(const std::string& what, const Shape& shape) const {
    double elements = 1;
    for (int64_t size : shape) elements *= double(size);
    if (elements <= double(maxElements)) return;
    throw Error("OUT_OF_MEMORY", request_.operation + ": " + what + " of shape " + toString(shape) +
                                     " have more than 2^40 elements; use smaller arguments.");
  }

  Recorder& recorder() const { return recorder_; }

  /** Refuses arguments that were not read, since they would have no effect: of an unknown name or the wrong kind. */
  void refuseUnread() const {
    auto check = [&](const auto& given, const char* kind) {
      for (const auto& [name, value] : given) {
        const auto read = read_.find(name);
        if (read == read_.end())
          refuse("INVALID_ARGUMENT", name.substr(0, 100), "absent, since it is not an option here,", kind);
        if (read->second != kind) refuse("INVALID_ARGUMENT", name, read->second, kind);
      }
    };
    check(request_.tensors, aTensor);
    check(request_.numbers, aNumber);
    check(request_.strings, aString);
  }

 private:
  const Request& request_;
  Recorder& recorder_;
  static constexpr const char *aTensor = "a tensor", *aNumber = "a number", *aString = "a string";
  /** The names that were read, with the kind of value that each has. */
  mutable std::map<std::string, std::string> read_;
};

}  // namespace onehead
