#include "operation.h"

#include "core/addresses.h"
#include "core/arguments.h"

namespace onehead {

Reasons LayerNorm::notSupported(const Capabilities& device) const {
  Reasons reasons;
  device.checkTypes({y.dtype}, reasons);
  return reasons;
}

LayerNorm layerNorm(const Arguments& arguments) {
  const Tensor& x = arguments.tensor("x");
  if (x.shape.empty() || x.columns() <= 0 || !x.contiguous())
    arguments.refuse("INVALID_SHAPE", "x", "contiguous rows of one element or more", toString(x.shape));
  arguments.typed(x, "x", DType::float32);
  return {.x = x,
          .weight = arguments.shaped("weight", {x.columns()}, DType::float32),
          .bias = arguments.shaped("bias", {x.columns()}, DType::float32),
          .epsilon = float(arguments.number("epsilon", 1e-5)),
          .y = arguments.output(arguments.dtype(DType::float32), x.shape, "x")};
}

LayerNormArguments argumentsOf(const Addresses& p, const LayerNorm& o) {
  return {.rows = o.x.rows(),
          .width = o.x.columns(),
          .x = p.at<float>(o.x),
          .weight = p.at<float>(o.weight),
          .bias = p.at<float>(o.bias),
          .epsilon = o.epsilon,
          .y = p.at(o.y),
          .yType = o.y.dtype};
}

}  // namespace onehead
