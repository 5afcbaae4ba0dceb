#include "arguments.h"

#include "core/addresses.h"
#include "operation.h"

namespace onehead {

LayerNormArguments argumentsOf(const Addresses& p, const LayerNorm& o) {
  return {.rows = o.x.rows(),
          .width = o.x.columns(),
          .x = p.at<float>(o.x),
          .weight = p.at<float>(o.weight),
          .bias = p.at<float>(o.bias),
          .epsilon = o.epsilon,
          .y = p.at(o.y),
          .yType = p.type(o.y)};
}

}  // namespace onehead
