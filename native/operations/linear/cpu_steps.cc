#include "cpu/plain_kernels.h"
#include "cpu/preparation.h"
#include "cpu/products.h"
#include "cpu/storage.h"

namespace onehead::cpu {

namespace {

/** Up to this many rows a product is bound by reading its weight, and our kernel is faster than a blocked product. */
constexpr int64_t fewRows = 16;

void prepareBytes(Preparation& p, const onehead::Linear& o) {
  const int64_t rows = o.x.rows(), depth = o.x.columns();
  LinearBytes arguments{.rows = rows,
                        .columns = o.weight.shape[0],
                        .depth = depth,
                        .x = p.at(o.x),
                        .xType = p.type(o.x),
                        .xStride = depth,
                        .w = p.panels(o.weight, *o.weightScales),
                        .scales = p.at<float>(o.weightScales),
                        .quantized = o.quantized,
                        .bias = p.at<float>(o.bias),
                        .normWeight = p.at<float>(o.normWeight),
                        .normBias = p.at<float>(o.normBias),
                        .epsilon = o.epsilon,
                        .activation = o.activation,
                        .residual = p.at<float>(o.residual),
                        .y = p.at(o.y),
                        .yType = p.type(o.y),
                        .scratch = nullptr};
  p.kernel(arguments, p.kernels.linearBytes);
}

}  // namespace

void prepare(Preparation& p, const onehead::Linear& o) {
  if (o.weightScales) return prepareBytes(p, o);
  int64_t rows = o.x.rows(), depth = o.x.columns(), columns = o.weight.shape[0];
  DType weightType = p.type(o.weight);
  if (!o.weight.storage)
    p.unsupported("the CPU device takes the weight from the device's memory, not from a temporary.");
  if (rows <= fewRows) {
    LinearRows arguments{.rows = rows,
                         .columns = columns,
                         .depth = depth,
                         .x = p.at(o.x),
                         .xType = p.type(o.x),
                         .xStride = depth,
                         .w = p.at(o.weight),
                         .weightType = weightType,
                         .bias = p.at<float>(o.bias),
                         .normWeight = p.at<float>(o.normWeight),
                         .normBias = p.at<float>(o.normBias),
                         .epsilon = o.epsilon,
                         .activation = o.activation,
                         .residual = p.at<float>(o.residual),
                         .y = p.at(o.y),
                         .yType = p.type(o.y),
                         .scratch = nullptr};
    p.kernel(arguments, p.kernels.linearRows);
    return;
  }
  std::byte* x = p.at(o.x);
  size_t begin = 0;
  if (o.normWeight || o.x.dtype != o.weight.dtype) {
    // oneDNN has no norm and no mixed types: the rows go through the scratch memory.
    size_t bytes = size_t(rows * depth) * bytesOf(o.weight.dtype);
    begin = aligned(bytes);
    if (o.normWeight)
      p.kernel(NormRows{.norm = {.rows = rows,
                                 .width = depth,
                                 .x = p.at<float>(o.x),
                                 .weight = p.at<float>(o.normWeight),
                                 .bias = p.at<float>(o.normBias),
                                 .epsilon = o.epsilon,
                                 .y = nullptr,
                                 .yType = weightType},
                        .scratch = nullptr,
                        .kernel = p.kernels.layerNorm},
               normRows, begin);
    else
      p.kernel(CastRows{.rows = rows,
                        .width = depth,
                        .x = p.at<float>(o.x),
                        .yType = weightType,
                        .scratch = nullptr,
                        .convert = p.kernels.convert},
               castRows, begin);
    x = nullptr;
  }
  p.add(matrixProduct(o, x, p.engine, p.stream, p, begin));
}

}  // namespace onehead::cpu
