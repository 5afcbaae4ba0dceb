#include "operation.h"

#include "core/addresses.h"
#include "core/arguments.h"

namespace onehead {

Reasons Linear::notSupported(const Capabilities& device) const {
  Reasons reasons;
  device.checkTypes({x.dtype, weightScales ? x.dtype : weight.dtype, y.dtype}, reasons);
  device.checkWeight(weight, weightScales, reasons);
  return reasons;
}

Linear linear(const Arguments& arguments) {
  const Tensor& x = arguments.floating(arguments.tensor("x"), "x");
  if (x.shape.empty() || x.elements() <= 0)
    arguments.refuse("INVALID_SHAPE", "x", "one row or more", toString(x.shape));
  if (!x.contiguous()) arguments.refuse("INVALID_ARGUMENT", "x", "contiguous", "a view of some columns");
  const bool bytes = arguments.tensor("weight", 2).dtype == DType::int8;
  const Tensor& weight =
      bytes ? arguments.tensor("weight", 2) : arguments.floating(arguments.tensor("weight", 2), "weight");
  if (weight.shape[1] != x.columns())
    arguments.refuse("INVALID_SHAPE", "weight", "[outputs, " + std::to_string(x.columns()) + "]",
                     toString(weight.shape));
  int64_t outputs = weight.shape[0];
  Shape shape = x.shape;
  shape.back() = outputs;
  bool norm = arguments.has("norm.weight");
  if (norm != arguments.has("norm.bias"))
    arguments.refuse("INVALID_ARGUMENT", "norm.bias", "given together with norm.weight", "one of them alone");
  if (bytes != arguments.has("weight.scales"))
    arguments.refuse("INVALID_ARGUMENT", "weight.scales",
                     bytes ? "given with an int8 weight" : "absent, since weight is not int8,",
                     bytes ? "nothing" : "a tensor");
  const bool quantized = arguments.integer("quantized", 0, 1, 0) == 1;
  if (quantized && !bytes) arguments.refuse("INVALID_ARGUMENT", "quantized", "0, since weight is not int8,", "1");
  if (norm)
    arguments.typed(x, "x", DType::float32);
  else if (!bytes && x.dtype != weight.dtype && x.dtype != DType::float32)
    arguments.refuse("INVALID_DTYPE", "x", std::string(nameOf(weight.dtype)) + " or float32",
                     std::string(nameOf(x.dtype)));
  auto residual = arguments.maybe("residual", shape, DType::float32);
  return {.x = x,
          .weight = weight,
          .bias = arguments.maybe("bias", {outputs}, DType::float32),
          .normWeight = arguments.maybe("norm.weight", {x.columns()}, DType::float32),
          .normBias = arguments.maybe("norm.bias", {x.columns()}, DType::float32),
          .residual = residual,
          .epsilon = float(arguments.number("norm.epsilon", 1e-5)),
          .activation = arguments.activation(),
          .y = arguments.output(arguments.dtype(residual || bytes ? DType::float32 : weight.dtype), shape, "residual"),
          .weightScales = arguments.maybe("weight.scales", {outputs}, DType::float32),
          .quantized = quantized};
}

LayerNormArguments normOf(const Addresses& p, const Linear& o, DType yType) {
  return {.rows = o.x.rows(),
          .width = o.x.columns(),
          .x = p.at<float>(o.x),
          .weight = p.at<float>(o.normWeight),
          .bias = p.at<float>(o.normBias),
          .epsilon = o.epsilon,
          .y = nullptr,
          .yType = yType};
}

}  // namespace onehead
