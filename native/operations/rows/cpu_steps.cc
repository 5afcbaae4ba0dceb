#include "cpu/plain_kernels.h"
#include "cpu/preparation.h"
#include "cpu/storage.h"

namespace onehead::cpu {

void prepare(Preparation& p, const onehead::Copy& o) {
  p.kernel(CopyBytes{.bytes = int64_t(o.x.bytes()), .from = p.at(o.x), .to = p.at(o.y)}, copyBytes);
}

void prepare(Preparation& p, const onehead::TransposeCast& o) { p.kernel(argumentsOf(p, o), p.kernels.transposeCast); }

void prepare(Preparation& p, const onehead::Embed& o) {
  const void* table =
      o.tokenScales ? static_cast<const void*>(p.panels(o.tokenEmbedding, *o.tokenScales)) : p.at(o.tokenEmbedding);
  const DType type = o.tokenScales ? DType::int8 : p.type(o.tokenEmbedding);
  p.kernel(argumentsOf(p, o, table, type), p.kernels.embed);
}

void prepare(Preparation& p, const onehead::GatherRows& o) {
  int64_t batch = o.x.shape[0], width = o.x.shape[2];
  for (int64_t i = 0; i < o.index.shape[0]; ++i) {
    GatherRows arguments{.batch = batch,
                         .length = o.x.shape[1],
                         .width = width,
                         .x = p.at<float>(o.x),
                         .index = p.at<int32_t>(o.index) + i * batch,
                         .offset = 0,
                         .y = p.at<float>(o.y) + i * batch * width,
                         .yStride = width};
    p.kernel(arguments, p.kernels.gatherRows);
  }
}

void prepare(Preparation& p, const onehead::ScatterRows& o) {
  const int64_t element = int64_t(bytesOf(o.x.dtype));
  if (o.scales) {
    const int64_t heads = o.scales->columns();
    p.kernel(ScatterHeads{.batch = o.x.shape[0],
                          .rows = o.x.shape[1],
                          .positions = o.y.rows(),
                          .heads = heads,
                          .headSize = o.x.columns() / heads,
                          .stride = o.x.rowStride,
                          .x = p.at(o.x),
                          .xType = p.type(o.x),
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
                              .xType = p.type(o.x),
                              .begin = p.at<int32_t>(o.begin),
                              .y = p.at(o.y),
                              .yType = p.type(o.y),
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
