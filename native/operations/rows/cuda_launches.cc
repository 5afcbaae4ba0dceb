#include "cuda/preparation.h"

namespace onehead::cuda {

void prepare(Preparation& p, const Copy& o) {
  p.add([to = p.at(o.y), from = p.at(o.x), bytes = o.x.bytes()](const Launcher& launcher, const Workspace&) {
    return copyBytes(to, from, bytes, launcher);
  });
}

void prepare(Preparation& p, const ScatterRows& o) {
  if (o.scales) {
    QuantizeHeadsArguments heads{};
    heads.batch = o.x.shape[0];
    heads.rows = o.x.shape[1];
    heads.positions = o.y.rows();
    heads.heads = o.scales->columns();
    heads.headSize = o.x.columns() / heads.heads;
    heads.xType = o.x.dtype;
    heads.batchStride = o.x.shape[1] * o.x.rowStride;
    heads.rowStride = o.x.rowStride;
    heads.begin = p.at<int32_t>(o.begin);
    heads.parts[0] = {.x = p.at(o.x), .y = p.at<int8_t>(o.y), .scales = p.at<float>(*o.scales)};
    heads.count = 1;
    return p.kernel(heads, quantizeHeads);
  }
  p.kernel({.batch = o.x.shape[0],
            .rows = o.x.shape[1],
            .positions = o.y.rows(),
            .width = o.x.columns(),
            .stride = o.x.rowStride,
            .x = p.at(o.x),
            .xType = o.x.dtype,
            .begin = p.at<int32_t>(o.begin),
            .y = p.at(o.y),
            .yType = o.y.dtype},
           scatterRows);
}

}  // namespace onehead::cuda
