#include "products.h"

#include <unordered_map>

namespace onehead::cpu {

namespace {

using dnnl::memory;
using Tag = memory::format_tag;

/** A primitive with its arguments; runs on oneDNN's own threads. */
class ProductStep final : public Step {
 public:
  ProductStep(dnnl::primitive primitive, const memory::desc& scratchpad, dnnl::engine engine, dnnl::stream stream,
              size_t scratchBegin)
      : primitive_(std::move(primitive)),
        scratchpad_(scratchpad, engine, nullptr),
        stream_(std::move(stream)),
        scratchBegin_(scratchBegin) {}

  /** One execution, a batch item for instance. */
  void add(std::unordered_map<int, memory> arguments) {
    arguments[DNNL_ARG_SCRATCHPAD] = scratchpad_;
    executions_.push_back(std::move(arguments));
  }
  /** This argument of the only execution lies in the scratch memory. */
  void findInScratch(int argument, size_t offset) { inScratch_.push_back({argument, offset}); }

  size_t scratchBytes() const override { return scratchBegin_ + scratchpad_.get_desc().get_size(); }
  void bind(std::byte* scratch) override {
    scratchpad_.set_data_handle(scratch + scratchBegin_);
    for (const auto& [argument, offset] : inScratch_)
      executions_.front().at(argument).set_data_handle(scratch + offset);
  }
  bool collective() const override { return false; }
  void run(const Team&) override {
    for (const auto& arguments : executions_) primitive_.execute(stream_, arguments);
    stream_.wait();
  }

 private:
  dnnl::primitive primitive_;
  memory scratchpad_;
  dnnl::stream stream_;
  size_t scratchBegin_;
  std::vector<std::unordered_map<int, memory>> executions_;
  std::vector<std::pair<int, size_t>> inScratch_;
};

void appendGelu(dnnl::post_ops& operations) {
#if DNNL_VERSION_MAJOR >= 3
  operations.append_eltwise(dnnl::algorithm::eltwise_gelu_erf, 0, 0);
#else
  operations.append_eltwise(1.f, dnnl::algorithm::eltwise_gelu_erf, 0, 0);
#endif
}

dnnl::primitive_attr attributes(onehead::Activation activation, const memory::desc* residual) {
  dnnl::post_ops operations;
  if (activation == onehead::Activation::gelu) appendGelu(operations);
  if (residual) operations.append_binary(dnnl::algorithm::binary_add, *residual);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  attributes.set_post_ops(operations);
  return attributes;
}

int residualArgument(onehead::Activation activation) {
  return DNNL_ARG_ATTR_MULTIPLE_POST_OP(activation == onehead::Activation::gelu ? 1 : 0) | DNNL_ARG_SRC_1;
}

CpuStorage& constant(const Tensor& tensor) { return static_cast<CpuStorage&>(*tensor.storage); }

dnnl::matmul::primitive_desc matmulDescription(const dnnl::engine& engine, const memory::desc& x, const memory::desc& w,
                                               const memory::desc& bias, const memory::desc& y,
                                               const dnnl::primitive_attr& attributes) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine, x, w, bias, y, attributes};
#else
  return {dnnl::matmul::desc(x, w, bias, y), attributes, engine};
#endif
}

dnnl::convolution_forward::primitive_desc convolutionDescription(const dnnl::engine& engine, const memory::desc& x,
                                                                 const memory::desc& w, const memory::desc& bias,
                                                                 const memory::desc& y, int64_t stride, int64_t padding,
                                                                 const dnnl::primitive_attr& attributes) {
  auto kind = dnnl::algorithm::convolution_direct;
  auto use = dnnl::prop_kind::forward_inference;
  memory::dims strides{stride}, paddings{padding};
#if DNNL_VERSION_MAJOR >= 3
  return {engine, use, kind, x, w, bias, y, strides, paddings, paddings, attributes};
#else
  return {dnnl::convolution_forward::desc(use, kind, x, w, bias, y, strides, paddings, paddings), attributes, engine};
#endif
}

}  // namespace

std::unique_ptr<Step> matrixProduct(const Linear& linear, const void* x, const dnnl::engine& engine,
                                    dnnl::stream& stream, Resolve& resolve, size_t scratchBegin) {
  int64_t rows = linear.x.rows(), depth = linear.x.columns(), columns = linear.weight.shape[0];
  auto type = dnnlType(linear.weight.dtype);
  memory::desc xDescription({rows, depth}, type, Tag::ab),
      yDescription({rows, columns}, dnnlType(linear.y.dtype), Tag::ab);
  memory::desc plain({depth, columns}, type, Tag::ba);  // [columns, depth] row-major, seen as its transpose
  memory::desc biasDescription;
  if (linear.bias) biasDescription = memory::desc({1, columns}, memory::data_type::f32, Tag::ab);
  memory::desc residualDescription({rows, columns}, memory::data_type::f32, Tag::ab);
  auto attribute = attributes(linear.activation, linear.residual ? &residualDescription : nullptr);

  // A weight that a decode step streams row by row stays as it is; any other takes the layout that oneDNN likes best.
  CpuStorage& weight = constant(linear.weight);
  bool whole = linear.weight.offset == 0 && linear.weight.bytes() == weight.bytes;
  bool pack = whole && !weight.isPlain();
  auto description =
      matmulDescription(engine, xDescription, pack ? memory::desc({depth, columns}, type, Tag::any) : plain,
                        biasDescription, yDescription, attribute);
  auto step = std::make_unique<ProductStep>(dnnl::matmul(description), description.scratchpad_desc(), engine, stream,
                                            scratchBegin);
  std::unordered_map<int, memory> arguments{
      {DNNL_ARG_SRC, memory(xDescription, engine, const_cast<void*>(x))},
      {DNNL_ARG_WEIGHTS, pack ? weight.packed(description.weights_desc(), plain, engine, stream)
                              : memory(plain, engine, resolve(linear.weight))},
      {DNNL_ARG_DST, memory(yDescription, engine, resolve(linear.y))},
  };
  if (linear.bias) arguments[DNNL_ARG_BIAS] = memory(biasDescription, engine, resolve(*linear.bias));
  if (linear.residual)
    arguments[residualArgument(linear.activation)] = memory(residualDescription, engine, resolve(*linear.residual));
  step->add(std::move(arguments));
  if (!x) step->findInScratch(DNNL_ARG_SRC, 0);
  return step;
}

std::unique_ptr<Step> convolutionProduct(const Convolution& convolution, const dnnl::engine& engine,
                                         dnnl::stream& stream, Resolve& resolve) {
  int64_t batch = convolution.x.shape[0], length = convolution.x.shape[1], channels = convolution.x.shape[2];
  int64_t outputs = convolution.y.shape[2], outputLength = convolution.y.shape[1];
  auto type = dnnlType(convolution.weight.dtype);
  // One batch item at a time: the residual (position embedding) is the same for each.
  memory::desc xDescription({1, channels, length}, type, Tag::nwc);
  memory::desc yDescription({1, outputs, outputLength}, dnnlType(convolution.y.dtype), Tag::nwc);
  memory::dims weightShape{outputs, channels, convolution.weight.shape[2]};
  memory::desc plain(weightShape, type, Tag::oiw), biasDescription;
  if (convolution.bias) biasDescription = memory::desc({outputs}, memory::data_type::f32, Tag::a);
  memory::desc residualDescription({1, outputs, outputLength}, memory::data_type::f32, Tag::nwc);
  auto attribute = attributes(convolution.activation, convolution.residual ? &residualDescription : nullptr);
  auto description =
      convolutionDescription(engine, xDescription, memory::desc(weightShape, type, Tag::any), biasDescription,
                             yDescription, convolution.stride, convolution.padding, attribute);
  auto step = std::make_unique<ProductStep>(dnnl::convolution_forward(description), description.scratchpad_desc(),
                                            engine, stream, 0);
  memory weight = constant(convolution.weight).packed(description.weights_desc(), plain, engine, stream);
  std::byte *x = resolve(convolution.x), *y = resolve(convolution.y);
  for (int64_t item = 0; item < batch; ++item) {
    std::unordered_map<int, memory> arguments{
        {DNNL_ARG_SRC, memory(xDescription, engine, x + size_t(item) * xDescription.get_size())},
        {DNNL_ARG_WEIGHTS, weight},
        {DNNL_ARG_DST, memory(yDescription, engine, y + size_t(item) * yDescription.get_size())},
    };
    if (convolution.bias) arguments[DNNL_ARG_BIAS] = memory(biasDescription, engine, resolve(*convolution.bias));
    if (convolution.residual)
      arguments[residualArgument(convolution.activation)] =
          memory(residualDescription, engine, resolve(*convolution.residual));
    step->add(std::move(arguments));
  }
  return step;
}

std::unique_ptr<Step> batchedProduct(const Matrices& x, const Matrices& w, const Matrices& y,
                                     const dnnl::engine& engine, dnnl::stream& stream, size_t scratchBegin) {
  auto description = matmulDescription(engine, x.description, w.description, memory::desc(), y.description,
                                       attributes(onehead::Activation::none, nullptr));
  auto step = std::make_unique<ProductStep>(dnnl::matmul(description), description.scratchpad_desc(), engine, stream,
                                            scratchBegin);
  std::unordered_map<int, memory> arguments;
  for (const auto& [argument, matrices] :
       {std::pair(DNNL_ARG_SRC, &x), std::pair(DNNL_ARG_WEIGHTS, &w), std::pair(DNNL_ARG_DST, &y)}) {
    arguments[argument] = memory(matrices->description, engine, matrices->data);
    if (!matrices->data) step->findInScratch(argument, matrices->scratchOffset);
  }
  step->add(std::move(arguments));
  return step;
}

std::string onednnVersion() {
  const dnnl_version_t* version = dnnl_version();
  return std::to_string(version->major) + "." + std::to_string(version->minor) + "." + std::to_string(version->patch);
}

}  // namespace onehead::cpu
