#include "cpu/plain_kernels.h"
#include "cpu/preparation.h"
#include "cpu/storage.h"

namespace onehead::cpu {

void prepare(Preparation& p, const onehead::Copy& o) {
  p.kernel(CopyBytes{.bytes = int64_t(o.x.bytes()), .from = p.at(o.x), .to = p.at(o.y)}, copyBytes);
}

void prepare(Preparation& p, const onehead::ScatterRows& o) {
  const int64_t element = int64_t(bytesOf(o.x.dtype));
  if (o.scales) {
    const int64_t heads = o.scales->columns();
    p.kernel(ScatterHeadsArguments{.batch = o.x.shape[0],
                                   .rows = o.x.shape[1],
                                   .positions = o.y.rows(),
                                   .heads = heads,
                                   .headSize = o.x.columns() / heads,
                                   .stride = o.x.rowStride,
                                   .x = p.at(o.x),
                                   .xType = o.x.dtype,
                                   .begin = p.at<int32_t>(o.begin),
                                   .y = p.at<int8_t>(o.y),
                                   .scales = p.at<float>(o.scales)},
             p.kernels.scatterHeads);
    return;
  }
  if (o.x.dtype != o.y.dtype) {
    p.kernel(ScatterConverted{.batch = o.x.shape[0],
                              .rows = o.x.shape[1],
                              .positions = o.y.rows(),
                              .width = o.x.columns(),
                              .stride = o.x.rowStride,
                              .x = p.at(o.x),
                              .xType = o.x.dtype,
                              .begin = p.at<int32_t>(o.begin),
                              .y = p.at(o.y),
                              .yType = o.y.dtype,
                              .convert = p.kernels.convert},
             scatterConverted);
    return;
  }
  p.kernel(ScatterBytes{.batch = o.x.shape[0],
                        .rows = o.x.shape[1],
                        .positions = o.y.rows(),
                        .rowBytes = o.x.columns() * element,
                        .strideBytes = o.x.rowStride * element,
                        .x = p.at(o.x),
                        .begin = p.at<int32_t>(o.begin),
                        .y = p.at(o.y)},
           scatterBytes);
}

}  // namespace onehead::cpu
