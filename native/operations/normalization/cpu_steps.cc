#include "cpu/preparation.h"

namespace onehead::cpu {

void prepare(Preparation& p, const onehead::LayerNorm& o) {
  LayerNorm arguments{.rows = o.x.rows(),
                      .width = o.x.columns(),
                      .x = p.at<float>(o.x),
                      .weight = p.at<float>(o.weight),
                      .bias = p.at<float>(o.bias),
                      .epsilon = o.epsilon,
                      .y = p.at(o.y),
                      .yType = p.type(o.y)};
  p.kernel(arguments, p.kernels.layerNorm);
}

}  // namespace onehead::cpu
