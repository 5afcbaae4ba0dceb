#include "cpu/preparation.h"
#include "cpu/products.h"

namespace onehead::cpu {

namespace {

/** What each output of one sequence is made of, as rows of a product at the start of the scratch memory. */
struct Unfold {
  int64_t rows, length, channels, kernel, stride, padding;
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
      const int64_t time = row * unfold.stride - unfold.padding + k;
      const bool inside = time >= 0 && time < unfold.length;
      const Element* from = x + (inside ? time * unfold.channels : 0);
      Element* to = static_cast<Element*>(unfold.scratch) + row * width + k;
      for (int64_t c = 0; c < unfold.channels; ++c) to[c * unfold.kernel] = inside ? from[c] : Element(0);
    }
}

}  // namespace

/** A product of unfolded rows, one sequence at a time: the residual (position embedding) is the same for each. */
void prepare(Preparation& p, const onehead::Convolution& o) {
  const int64_t channels = o.x.shape[2], kernel = o.weight.shape[2], rows = o.y.shape[1];
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
  product.weight.shape = {o.y.shape[2], channels * kernel};
  product.y.shape = {rows, o.y.shape[2]};
  const size_t begin = aligned(product.x.bytes());
  Unfold unfold{.rows = rows,
                .length = o.x.shape[1],
                .channels = channels,
                .kernel = kernel,
                .stride = o.stride,
                .padding = o.padding,
                .x = p.at(o.x),
                .scratch = nullptr};
  for (int64_t item = 0; item < o.y.shape[0]; ++item) {
    p.kernel(unfold, o.x.dtype == DType::float32 ? unfoldRows<uint32_t> : unfoldRows<uint16_t>, begin);
    p.add(matrixProduct(product, nullptr, p.engine, p.stream, p, begin));
    unfold.x += size_t(unfold.length * channels) * bytesOf(o.x.dtype);
    product.y.offset += product.y.elements();
  }
}

}  // namespace onehead::cpu
