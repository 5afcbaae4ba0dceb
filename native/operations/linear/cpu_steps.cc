#include "cpu/plain_kernels.h"
#include "cpu/preparation.h"
#include "cpu/products.h"
#include "cpu/storage.h"

namespace onehead::cpu {

namespace {

/** Up to this many rows, reading the weight is the bound, and linearRows is faster than oneDNN's blocked product. */
constexpr int64_t fewRows = 16;

LinearArguments argumentsOf(Preparation& p, const Linear& o, const void* weight, const float* scales) {
  return {.rows = o.x.rows(),
          .columns = o.weight.shape[0],
          .depth = o.x.columns(),
          .x = p.at(o.x),
          .xType = o.x.dtype,
          .xStride = o.x.columns(),
          .w = weight,
          .weightType = o.weight.dtype,
          .scales = scales,
          .quantized = o.quantized,
          .bias = p.at<float>(o.bias),
          .normWeight = p.at<float>(o.normWeight),
          .normBias = p.at<float>(o.normBias),
          .epsilon = o.epsilon,
          .activation = o.activation,
          .residual = p.at<float>(o.residual),
          .y = p.at(o.y),
          .yType = o.y.dtype,
          .scratch = nullptr};
}
LinearArguments argumentsOf(Preparation& p, const Linear& o) {
  return argumentsOf(p, o, p.weight(o.weight), p.at<float>(o.weightScales));
}

void multiplyInt16(Preparation& p, const Linear& o) {
  const auto [panels, scales] =
      static_cast<CpuStorage&>(*o.weight.storage).int16Panels(o.weight.shape[0], o.weight.shape[1]);
  p.kernel(argumentsOf(p, o, panels, scales), p.kernels.linearInt16);
}

}  // namespace

void prepare(Preparation& p, const Linear& o) {
  if (o.weightScales) return p.kernel(argumentsOf(p, o), p.kernels.linearBytes);
  const int64_t rows = o.x.rows(), depth = o.x.columns();
  const DType weightType = o.weight.dtype;
  if (rows <= fewRows) return p.kernel(argumentsOf(p, o), p.kernels.linearRows);
  if (p.multipliesInt16(o.weight)) return multiplyInt16(p, o);
  std::byte* x = p.at(o.x);
  size_t begin = 0;
  if (o.normWeight || o.x.dtype != o.weight.dtype) {
    // oneDNN has neither a norm nor mixed types: the rows are normalized or converted into scratch memory.
    size_t bytes = size_t(rows * depth) * bytesOf(o.weight.dtype);
    begin = aligned(bytes);
    if (o.normWeight)
      p.kernel(NormRows{.norm = normOf(p, o, weightType), .scratch = nullptr, .kernel = p.kernels.layerNorm}, normRows,
               begin);
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
  p.add(matrixProduct(o, x, p.onednn().engine, p.onednn().stream, p, begin));
}

}  // namespace onehead::cpu
