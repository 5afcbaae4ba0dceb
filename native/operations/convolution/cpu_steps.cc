#include "cpu/preparation.h"
#include "cpu/products.h"
#include "cpu/storage.h"

namespace onehead::cpu {

namespace {

/** The most rows that are unfolded at once: all rows of a window would be the encoder's largest buffer. */
constexpr int64_t maxUnfoldedRows = 512;

/** The rows of one part of a product. It divides `rows`, so that one prepared product serves all parts, unless parts
 * would become too small; then there is one part. */
int64_t rowsPerPart(int64_t rows) {
  int64_t parts = (rows + maxUnfoldedRows - 1) / maxUnfoldedRows;
  while (rows % parts != 0 && rows / parts >= maxUnfoldedRows / 4) ++parts;
  return rows % parts == 0 ? rows / parts : rows;
}

/** Copies the inputs of some outputs of one sequence to the start of the scratch memory, as rows of a product (im2col).
 */
struct Unfold {
  int64_t first, rows, length, channels, kernel, stride, padding;
  const std::byte* x;  // [length, channels]
  void* scratch;       // [rows, channels, kernel], the order of the weight
};

template <class Element>
void unfoldRows(const Unfold& unfold, const Team& team) {
  const auto* x = reinterpret_cast<const Element*>(unfold.x);
  const int64_t width = unfold.channels * unfold.kernel;
  Share share(unfold.rows, team);
  for (int64_t row = share.begin; row < share.end; ++row)
    for (int64_t k = 0; k < unfold.kernel; ++k) {
      const int64_t time = (unfold.first + row) * unfold.stride - unfold.padding + k;
      const bool inside = time >= 0 && time < unfold.length;
      const Element* from = x + (inside ? time * unfold.channels : 0);
      Element* to = static_cast<Element*>(unfold.scratch) + row * width + k;
      for (int64_t c = 0; c < unfold.channels; ++c) to[c * unfold.kernel] = inside ? from[c] : Element(0);
    }
}

/** With the weight as [outputs, kernel, channels], the inputs of an output are neighbours in x: a product whose rows
 * overlap. */
void convolveInt16(Preparation& p, const onehead::Convolution& o) {
  const int64_t length = o.x.shape[1], channels = o.x.shape[2], kernel = o.weight.shape[2];
  const int64_t outputs = o.y.shape[2], rows = o.y.shape[1];
  const auto [panels, scales] =
      static_cast<CpuStorage&>(*o.weight.storage).int16Panels(outputs, channels * kernel, kernel);
  for (int64_t item = 0; item < o.y.shape[0]; ++item)
    p.kernel(LinearArguments{.rows = rows,
                             .columns = outputs,
                             .depth = channels * kernel,
                             .x = p.at(o.x) + size_t(item * length * channels) * bytesOf(o.x.dtype),
                             .xType = o.x.dtype,
                             .xStride = o.stride * channels,
                             .xBegin = -o.padding * channels,
                             .xElements = length * channels,
                             .w = panels,
                             .weightType = o.weight.dtype,
                             .scales = scales,
                             .quantized = false,
                             .bias = p.at<float>(o.bias),
                             .normWeight = nullptr,
                             .normBias = nullptr,
                             .epsilon = 0,
                             .activation = o.activation,
                             .residual = p.at<float>(o.residual),
                             .y = p.at(o.y) + size_t(item * rows * outputs) * bytesOf(o.y.dtype),
                             .yType = o.y.dtype,
                             .scratch = nullptr},
             p.kernels.linearInt16);
}

}  // namespace

/** Products for one sequence at a time, since they share the residual, which is the position embedding: our own in
 * 16-bit integers, or oneDNN's of unfolded rows. */
void prepare(Preparation& p, const onehead::Convolution& o) {
  if (p.multipliesInt16(o.weight)) return convolveInt16(p, o);
  const int64_t channels = o.x.shape[2], kernel = o.weight.shape[2], outputs = o.y.shape[2], outputRows = o.y.shape[1];
  const int64_t rows = rowsPerPart(outputRows);
  Linear product{.x = Tensor::of(o.x.dtype, {rows, channels * kernel}),
                 .weight = o.weight,
                 .bias = o.bias,
                 .normWeight = {},
                 .normBias = {},
                 .residual = o.residual,
                 .epsilon = 0,
                 .activation = o.activation,
                 .y = o.y,
                 .weightScales = {}};
  product.weight.shape = {outputs, channels * kernel};
  product.y.shape = {rows, outputs};
  if (product.residual) product.residual->shape = {rows, outputs};
  const size_t begin = aligned(product.x.bytes());
  Unfold unfold{.first = 0,
                .rows = rows,
                .length = o.x.shape[1],
                .channels = channels,
                .kernel = kernel,
                .stride = o.stride,
                .padding = o.padding,
                .x = p.at(o.x),
                .scratch = nullptr};
  for (int64_t item = 0; item < o.y.shape[0]; ++item) {
    for (unfold.first = 0; unfold.first < outputRows; unfold.first += rows) {
      p.kernel(unfold, o.x.dtype == DType::float32 ? unfoldRows<uint32_t> : unfoldRows<uint16_t>, begin);
      if (o.residual) product.residual->offset = o.residual->offset + unfold.first * outputs;
      p.add(matrixProduct(product, nullptr, p.onednn().engine, p.onednn().stream, p, begin));
      product.y.offset += product.y.elements();
    }
    unfold.x += size_t(unfold.length * channels) * bytesOf(o.x.dtype);
  }
}

}  // namespace onehead::cpu
