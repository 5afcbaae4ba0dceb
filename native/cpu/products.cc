#include "products.h"

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "team.h"

namespace onehead::cpu {

namespace {

using dnnl::memory;
using Tag = memory::format_tag;

dnnl::matmul::primitive_desc matmulDescription(const dnnl::engine& engine, const memory::desc& x, const memory::desc& w,
                                               const memory::desc& bias, const memory::desc& y,
                                               const dnnl::primitive_attr& attributes) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine, x, w, bias, y, attributes};
#else
  return {dnnl::matmul::desc(x, w, bias, y), attributes, engine};
#endif
}

memory::dims stridesOf(const memory::desc& description) {
#if DNNL_VERSION_MAJOR >= 3
  return description.get_strides();
#else
  const auto& strides = description.data.format_desc.blocking.strides;
  return memory::dims(strides, strides + description.data.ndims);
#endif
}

/** Whether oneDNN supports bfloat16 on this CPU; version 2 does with AVX-512 only. */
bool onednnMultipliesBfloat16(const dnnl::engine& engine) {
  static const bool multiplies = [&] {
    const memory::desc square({16, 16}, memory::data_type::bf16, Tag::ab);
    try {
      matmulDescription(engine, square, square, memory::desc(), square, {});
      return true;
    } catch (const dnnl::error&) {
      return false;
    }
  }();
  return multiplies;
}

/**
 * Whether oneDNN 2 computes a product with w [..., depth, columns] wrongly, in plain memory or packed. With AMX and two
 * threads or more, 2.6.3 does for a depth of 63, any w and more than a few rows, if it does not end the process with an
 * illegal instruction; and for 49 to 63 columns, any number of rows, and a w in plain memory that is the transpose of a
 * matrix.
 */
bool isWrongWithTiles(const memory::desc& w, bool packed) {
#if DNNL_VERSION_MAJOR >= 3
  (void)w, (void)packed;
  return false;
#else
  // Later instruction sets include the bits of earlier ones.
  constexpr unsigned amx = unsigned(dnnl::cpu_isa::avx512_core_amx);
  static const bool tiles = (unsigned(dnnl::get_effective_cpu_isa()) & amx) == amx;
  const memory::dims shape = shapeOf(w), strides = stridesOf(w);
  if (!tiles) return false;
  if (shape[shape.size() - 2] == 63) return true;
  return !packed && shape.back() < 64 && shape.back() % 16 != 0 && strides.back() != 1;
#endif
}

/** Whether a product with w is computed in float32 if it is one of bfloat16. `w` is as in plain memory also if it is
 * `packed`. */
bool widens(const memory::desc& w, const dnnl::engine& engine, bool packed = false) {
  return !onednnMultipliesBfloat16(engine) || isWrongWithTiles(w, packed);
}
memory::data_type computedType(memory::data_type type, bool widened) {
  return type == memory::data_type::bf16 && widened ? memory::data_type::f32 : type;
}
memory::desc computed(const memory::desc& plain, bool widened) {
  return {shapeOf(plain), computedType(typeOf(plain), widened), stridesOf(plain)};
}

/** A primitive with its arguments, which oneDNN divides over the team. If it is `widened`, operands of bfloat16 become
 * float32 in scratch memory, and the result is narrowed. */
class ProductStep final : public Step {
 public:
  ProductStep(dnnl::primitive primitive, bool widened, const memory::desc& scratchpad, const dnnl::engine& engine,
              dnnl::stream stream, size_t scratchBegin)
      : primitive_(std::move(primitive)),
        widened_(widened),
        engine_(engine),
        scratchpad_(scratchpad, engine, nullptr),
        stream_(std::move(stream)),
        scratchBegin_(scratchBegin) {}

  /** Adds an execution, such as one batch item, with arguments that are complete and operands in plain memory. */
  void add(std::unordered_map<int, memory> arguments, const std::vector<std::pair<int, Operand>>& operands) {
    Execution execution{std::move(arguments), {}};
    execution.arguments[DNNL_ARG_SCRATCHPAD] = scratchpad_;
    size_t end = scratchBegin_ + aligned(scratchpad_.get_desc().get_size());
    for (const auto& [argument, operand] : operands) {
      const memory::desc description = computed(operand.description, widened_);
      const bool widened = typeOf(description) != typeOf(operand.description);
      execution.arguments[argument] = memory(description, engine_, operand.data);
      execution.operands.push_back({argument, operand, widened ? spanOf(description) : 0, end, operand.data});
      end += aligned(size_t(execution.operands.back().span) * sizeof(float));
    }
    scratchEnd_ = std::max(scratchEnd_, end);
    executions_.push_back(std::move(execution));
  }

  size_t scratchBytes() const override { return scratchEnd_; }
  void bind(std::byte* scratch) override {
    scratchpad_.set_data_handle(scratch + scratchBegin_);
    for (Execution& execution : executions_)
      for (Bound& bound : execution.operands) {
        if (!bound.operand.data) bound.data = scratch + bound.operand.scratchOffset;
        bound.staged = scratch + bound.stagedOffset;
        execution.arguments.at(bound.argument).set_data_handle(bound.span ? bound.staged : bound.data);
      }
  }
  bool collective() const override { return false; }
  void run(const Team&) override {
    for (const Execution& execution : executions_) {
      // The output is widened too, since there may be other data between its rows.
      for (const Bound& bound : execution.operands)
        if (bound.span) convert(bound.data, DType::bfloat16, bound.staged, DType::float32, bound.span);
      primitive_.execute(stream_, execution.arguments);
      stream_.wait();
      for (const Bound& bound : execution.operands)
        if (bound.span && bound.argument == DNNL_ARG_DST)
          convert(bound.staged, DType::float32, bound.data, DType::bfloat16, bound.span);
    }
  }

 private:
  struct Bound {
    int argument;
    Operand operand;
    int64_t span;  // elements from the first to the last; 0 if the operand is not widened
    size_t stagedOffset;
    std::byte *data, *staged = nullptr;
  };
  struct Execution {
    std::unordered_map<int, memory> arguments;
    std::vector<Bound> operands;
  };

  static int64_t spanOf(const memory::desc& description) {
    const memory::dims dims = shapeOf(description), strides = stridesOf(description);
    int64_t span = 1;
    for (size_t i = 0; i < dims.size(); ++i) span += (dims[i] - 1) * strides[i];
    return span;
  }
  static void convert(const std::byte* from, DType fromType, std::byte* to, DType toType, int64_t count) {
    constexpr int64_t piece = 1 << 14;
    const size_t fromBytes = fromType == DType::float32 ? 4 : 2, toBytes = 6 - fromBytes;
    ThreadTeam::led()->run([&](const Team& team) {
      const Share pieces((count + piece - 1) / piece, team);
      const int64_t begin = pieces.begin * piece, end = std::min(pieces.end * piece, count);
      if (begin < end)
        kernels()->convert(from + size_t(begin) * fromBytes, fromType, to + size_t(begin) * toBytes, toType,
                           end - begin);
    });
  }

  dnnl::primitive primitive_;
  bool widened_;
  dnnl::engine engine_;
  memory scratchpad_;
  dnnl::stream stream_;
  size_t scratchBegin_, scratchEnd_ = 0;
  std::vector<Execution> executions_;
};

void appendGelu(dnnl::post_ops& operations) {
#if DNNL_VERSION_MAJOR >= 3
  operations.append_eltwise(dnnl::algorithm::eltwise_gelu_erf, 0, 0);
#else
  operations.append_eltwise(1.f, dnnl::algorithm::eltwise_gelu_erf, 0, 0);
#endif
}

/** `inPlace`: the result is added to the output's previous contents. */
dnnl::primitive_attr attributes(Activation activation, const memory::desc* residual, bool inPlace = false) {
  dnnl::post_ops operations;
  if (activation == Activation::gelu) appendGelu(operations);
  if (residual && inPlace)
    operations.append_sum(1.f);
  else if (residual)
    operations.append_binary(dnnl::algorithm::binary_add, *residual);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  attributes.set_post_ops(operations);
  return attributes;
}

int residualArgument(Activation activation) {
  return DNNL_ARG_ATTR_MULTIPLE_POST_OP(activation == Activation::gelu ? 1 : 0) | DNNL_ARG_SRC_1;
}

CpuStorage& storageOf(const Tensor& tensor) { return static_cast<CpuStorage&>(*tensor.storage); }

}  // namespace

std::unique_ptr<Step> matrixProduct(const Linear& linear, std::byte* x, const dnnl::engine& engine,
                                    dnnl::stream& stream, const Addresses& addresses, size_t scratchBegin) {
  int64_t rows = linear.x.rows(), depth = linear.x.columns(), columns = linear.weight.shape[0];
  auto type = dnnlType(linear.weight.dtype);
  memory::desc xDescription({rows, depth}, type, Tag::ab),
      yDescription({rows, columns}, dnnlType(linear.y.dtype), Tag::ab);
  memory::desc plain({depth, columns}, type, Tag::ba);  // [columns, depth] row-major, seen as its transpose
  const bool pack = storageOf(linear.weight).packs(linear.weight);
  const bool widened = widens(plain, engine, pack);
  memory::desc packed({depth, columns}, computedType(type, widened), Tag::any);
  memory::desc biasDescription;
  if (linear.bias) biasDescription = memory::desc({1, columns}, memory::data_type::f32, Tag::ab);
  memory::desc residualDescription({rows, columns}, memory::data_type::f32, Tag::ab);
  const bool inPlace = linear.residual && linear.residual->storage == linear.y.storage &&
                       linear.residual->temporary == linear.y.temporary && linear.residual->offset == linear.y.offset;
  auto attribute = attributes(linear.activation, linear.residual ? &residualDescription : nullptr, inPlace);

  auto description =
      matmulDescription(engine, computed(xDescription, widened), pack ? packed : computed(plain, widened),
                        biasDescription, computed(yDescription, widened), attribute);
  auto step = std::make_unique<ProductStep>(dnnl::matmul(description), widened, description.scratchpad_desc(), engine,
                                            stream, scratchBegin);
  std::unordered_map<int, memory> arguments;
  std::vector<std::pair<int, Operand>> operands{{DNNL_ARG_SRC, {xDescription, x, 0}},
                                                {DNNL_ARG_DST, {yDescription, addresses.at(linear.y), 0}}};
  if (pack)
    arguments[DNNL_ARG_WEIGHTS] =
        storageOf(linear.weight).packed(description.weights_desc(), computed(plain, widened), engine, stream);
  else
    operands.push_back({DNNL_ARG_WEIGHTS, {plain, addresses.at(linear.weight), 0}});
  if (linear.bias) arguments[DNNL_ARG_BIAS] = memory(biasDescription, engine, addresses.at(*linear.bias));
  if (linear.residual && !inPlace)
    arguments[residualArgument(linear.activation)] =
        memory(residualDescription, engine, addresses.at(*linear.residual));
  step->add(std::move(arguments), operands);
  return step;
}

std::unique_ptr<Step> batchedProduct(const Operand& x, const Operand& w, const Operand& y, const dnnl::engine& engine,
                                     dnnl::stream& stream, size_t scratchBegin) {
  const bool widened = widens(w.description, engine);
  auto description =
      matmulDescription(engine, computed(x.description, widened), computed(w.description, widened), memory::desc(),
                        computed(y.description, widened), attributes(Activation::none, nullptr));
  auto step = std::make_unique<ProductStep>(dnnl::matmul(description), widened, description.scratchpad_desc(), engine,
                                            stream, scratchBegin);
  step->add({}, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_DST, y}});
  return step;
}

std::string onednnVersion() {
  const dnnl_version_t* version = dnnl_version();
  return std::to_string(version->major) + "." + std::to_string(version->minor) + "." + std::to_string(version->patch);
}

}  // namespace onehead::cpu
