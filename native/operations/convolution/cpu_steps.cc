#include "cpu/preparation.h"
#include "cpu/products.h"

namespace onehead::cpu {

namespace {

/** Rows that are unfolded at once, at most: a window's are more memory than anything else in the encoder takes. */
constexpr int64_t mostRows = 512;

/** As many rows as divide all of them, so that one product serves all parts, if that is not too few at once. */
int64_t rowsAtOnce(int64_t rows) {
  int64_t parts = (rows + mostRows - 1) / mostRows;
  while (rows % parts != 0 && rows / parts >= mostRows / 4) ++parts;
  return rows % parts == 0 ? rows / parts : rows;
}

/** What some outputs of one sequence are made of, as rows of a product at the start of the scratch memory. */
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

}  // namespace

/** Products of unfolded rows, one sequence at a time: the residual (position embedding) is the same for each. */
void prepare(Preparation& p, const onehead::Convolution& o) {
  const int64_t channels = o.x.shape[2], kernel = o.weight.shape[2], outputs = o.y.shape[2], all = o.y.shape[1];
  const int64_t rows = rowsAtOnce(all);
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
    for (unfold.first = 0; unfold.first < all; unfold.first += rows) {
      p.kernel(unfold, o.x.dtype == DType::float32 ? unfoldRows<uint32_t> : unfoldRows<uint16_t>, begin);
      if (o.residual) product.residual->offset = o.residual->offset + unfold.first * outputs;
      p.add(matrixProduct(product, nullptr, p.engine, p.stream, p, begin));
      product.y.offset += product.y.elements();
    }
    unfold.x += size_t(unfold.length * channels) * bytesOf(o.x.dtype);
  }
}

}  // namespace onehead::cpu
