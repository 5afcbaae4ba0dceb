#include "arguments.h"

#include "core/addresses.h"
#include "operation.h"

namespace onehead {

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
