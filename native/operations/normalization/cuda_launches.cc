#include "cuda/preparation.h"

namespace onehead::cuda {

void prepare(Preparation& p, const LayerNorm& o) {
  p.kernel({.rows = o.x.rows(),
            .width = o.x.columns(),
            .x = p.at<float>(o.x),
            .weight = p.at<float>(o.weight),
            .bias = p.at<float>(o.bias),
            .epsilon = o.epsilon,
            .y = p.at(o.y),
            .yType = o.y.dtype},
           layerNorm);
}

}  // namespace onehead::cuda
