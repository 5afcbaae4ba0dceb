#include "operation.h"

#include "core/arguments.h"

namespace onehead {

namespace {

constexpr int64_t anyInteger = int64_t(1) << 40;

}  // namespace

Reasons Convolution::notSupported(const Capabilities& device) const {
  Reasons reasons;
  device.checkTypes({x.dtype, y.dtype}, reasons);
  device.checkWeight(weight, std::nullopt, reasons);
  return reasons;
}

Convolution convolution(const Arguments& arguments) {
  const Tensor& x = arguments.floating(arguments.tensor("x", 3), "x");
  const Tensor& weight = arguments.typed(arguments.tensor("weight", 3), "weight", x.dtype);
  int64_t channels = weight.shape[0], kernel = weight.shape[2];
  if (weight.shape[1] != x.shape[2])
    arguments.refuse("INVALID_SHAPE", "weight", "[channels, " + std::to_string(x.shape[2]) + ", kernel]",
                     toString(weight.shape));
  int64_t stride = arguments.integer("stride", 1, anyInteger, 1), padding = arguments.integer("padding", 0, kernel, 0);
  int64_t padded = x.shape[1] + 2 * padding;
  if (padded < kernel)
    arguments.refuse("INVALID_SHAPE", "x", "at least as long as the kernel (" + std::to_string(kernel) + ")",
                     toString(x.shape));
  int64_t length = (padded - kernel) / stride + 1;
  arguments.requireCountable("unfolded inputs", {length, x.shape[2], kernel});
  return {.x = x,
          .weight = weight,
          .bias = arguments.maybe("bias", {channels}, DType::float32),
          .residual = arguments.maybe("residual", {length, channels}, DType::float32),
          .stride = stride,
          .padding = padding,
          .activation = arguments.activation(),
          .y = arguments.output(arguments.dtype(x.dtype), {x.shape[0], length, channels})};
}

}  // namespace onehead
