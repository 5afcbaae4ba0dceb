#include "preparation.h"

#include "../core/error.h"
#include "operations/attention/batched_attention.h"
#include "plain_kernels.h"
#include "products.h"
#include "storage.h"

namespace onehead::cpu {

namespace {

/** Up to this many rows a product is bound by reading its weight, and our kernel is faster than a blocked product. */
constexpr int64_t fewRows = 16;

Activation kernelActivation(onehead::Activation activation) {
  return activation == onehead::Activation::gelu ? Activation::gelu : Activation::none;
}

AttentionAlgorithm kernelAlgorithm(onehead::AttentionAlgorithm algorithm) {
  switch (algorithm) {
    case onehead::AttentionAlgorithm::multiHead:
      return AttentionAlgorithm::multiHead;
    case onehead::AttentionAlgorithm::splitKeyValue:
      return AttentionAlgorithm::splitKeyValue;
    default:
      return AttentionAlgorithm::memoryEfficient;
  }
}

/** Makes the steps of one program. */
class Preparation final : public Resolve {
 public:
  Preparation(CpuExecutable& executable, const Kernels& kernels, int threads, dnnl::engine& engine,
              dnnl::stream& stream)
      : executable_(executable), kernels_(kernels), threads_(threads), engine_(engine), stream_(stream) {}

  std::byte* operator()(const Tensor& tensor) override {
    std::byte* base = tensor.storage
                          ? static_cast<CpuStorage&>(*tensor.storage).plain()
                          : executable_.arena() + executable_.plan().temporaries[size_t(tensor.temporary)].offset;
    return base + size_t(tensor.offset) * bytesOf(tensor.dtype);
  }

  void prepare(size_t index) {
    index_ = index;
    name_ = executable_.plan().operations[index].name;
    std::visit([&](const auto& description) { make(description); }, executable_.plan().operations[index].description);
  }

 private:
  template <class T>
  T* at(const Tensor& tensor) {
    return reinterpret_cast<T*>((*this)(tensor));
  }
  template <class T>
  T* at(const std::optional<Tensor>& tensor) {
    return tensor ? at<T>(*tensor) : nullptr;
  }
  Format format(const Tensor& tensor) const { return formatOf(tensor.dtype, name_); }
  void add(std::unique_ptr<Step> step, const char* part = "") {
    if (*part) step->part = part;
    executable_.add(std::move(step), index_);
  }
  template <class Arguments>
  void kernel(const Arguments& arguments, void (*function)(const Arguments&, const Team&), size_t scratch = 0) {
    add(std::make_unique<KernelStep<Arguments>>(arguments, function, scratch));
  }
  [[noreturn]] void unsupported(const std::string& reason) const {
    throw Error("NOT_SUPPORTED", name_ + ": " + reason);
  }

  void make(const onehead::LogMel& o) {
    LogMel arguments{o.y.shape[0],
                     o.y.shape[2],
                     o.window.shape[0],
                     o.hop,
                     o.y.shape[1],
                     at<float>(o.samples),
                     at<float>(o.window),
                     at<float>(o.filters),
                     at<float>(o.peak),
                     at<float>(o.y),
                     nullptr};
    kernel(arguments, kernels_.logMel, logMelScratch(arguments, threads_));
  }
  void make(const onehead::TransposeCast& o) {
    TransposeCast arguments{o.x.shape[0], o.x.shape[1], o.x.shape[2], at<float>(o.x), (*this)(o.y), format(o.y)};
    kernel(arguments, kernels_.transposeCast);
  }
  void make(const onehead::Convolution& o) {
    formatOf(o.x.dtype, name_);
    if (!o.weight.storage) unsupported("the CPU device takes the weight from a loaded constant, not from a temporary.");
    add(convolutionProduct(o, engine_, stream_, *this));
  }
  void make(const onehead::LayerNorm& o) {
    LayerNorm arguments{o.x.rows(),        o.x.columns(), at<float>(o.x), at<float>(o.weight),
                        at<float>(o.bias), o.epsilon,     (*this)(o.y),   format(o.y)};
    kernel(arguments, kernels_.layerNorm);
  }

  /** A weight of 8 bits and its scales, as Device.quantize gives them. */
  const int8_t* panels(const Tensor& weight, const Tensor& scales) {
    auto* storage = static_cast<CpuStorage*>(weight.storage.get());
    const size_t padded = aligned(size_t(weight.shape[0]) * sizeof(float));
    if (!storage || !storage->isPanels() || weight.offset != 0 || weight.bytes() != storage->bytes || !scales.storage ||
        scales.offset != 0 || scales.storage->bytes < padded)
      unsupported("the CPU device takes an int8 weight and its scales whole, as Device.quantize gives them.");
    return storage->panels();
  }
  void makeBytes(const onehead::Linear& o) {
    const int64_t rows = o.x.rows(), depth = o.x.columns();
    LinearBytes arguments{.rows = rows,
                          .columns = o.weight.shape[0],
                          .depth = depth,
                          .x = (*this)(o.x),
                          .xFormat = format(o.x),
                          .xStride = depth,
                          .w = panels(o.weight, *o.weightScales),
                          .scales = at<float>(o.weightScales),
                          .quantized = o.quantized,
                          .bias = at<float>(o.bias),
                          .normWeight = at<float>(o.normWeight),
                          .normBias = at<float>(o.normBias),
                          .epsilon = o.epsilon,
                          .activation = kernelActivation(o.activation),
                          .residual = at<float>(o.residual),
                          .y = (*this)(o.y),
                          .yFormat = format(o.y),
                          .scratch = nullptr};
    kernel(arguments, kernels_.linearBytes, linearBytesScratch(rows, depth, threads_));
  }

  void make(const onehead::Linear& o) {
    if (o.weightScales) return makeBytes(o);
    int64_t rows = o.x.rows(), depth = o.x.columns(), columns = o.weight.shape[0];
    Format weightFormat = format(o.weight);
    if (!o.weight.storage)
      unsupported("the CPU device takes the weight from the device's memory, not from a temporary.");
    if (rows <= fewRows) {
      LinearRows arguments{rows,
                           columns,
                           depth,
                           (*this)(o.x),
                           format(o.x),
                           depth,
                           (*this)(o.weight),
                           weightFormat,
                           at<float>(o.bias),
                           at<float>(o.normWeight),
                           at<float>(o.normBias),
                           o.epsilon,
                           kernelActivation(o.activation),
                           at<float>(o.residual),
                           (*this)(o.y),
                           format(o.y),
                           nullptr};
      kernel(arguments, kernels_.linearRows, linearRowsScratch(rows, depth));
      return;
    }
    std::byte* x = (*this)(o.x);
    size_t begin = 0;
    if (o.normWeight || o.x.dtype != o.weight.dtype) {
      // oneDNN has no norm and no mixed types: the rows go through the scratch memory.
      size_t bytes = size_t(rows * depth) * bytesOf(o.weight.dtype);
      begin = aligned(bytes);
      if (o.normWeight)
        kernel(NormRows{{rows, depth, at<float>(o.x), at<float>(o.normWeight), at<float>(o.normBias), o.epsilon,
                         nullptr, weightFormat},
                        nullptr,
                        kernels_.layerNorm},
               normRows, begin);
      else
        kernel(CastRows{rows, depth, at<float>(o.x), weightFormat, nullptr, kernels_.convert}, castRows, begin);
      x = nullptr;
    }
    add(matrixProduct(o, x, engine_, stream_, *this, begin));
  }

  AttentionView view(const Tensor& tensor) {
    return {(*this)(tensor), tensor.shape[1] * tensor.rowStride, tensor.rowStride};
  }
  void make(const onehead::Attention& o) {
    if (isBatchedAttention(o)) {
      for (auto& step : batchedAttention(o, kernels_, engine_, stream_, *this)) add(std::move(step));
      return;
    }
    Attention arguments{.batch = o.batch(),
                        .queries = o.queries(),
                        .keys = o.keys(),
                        .heads = o.heads,
                        .keyValueHeads = o.keyValueHeads,
                        .headSize = o.headSize,
                        .format = format(o.query),
                        .q = view(o.query),
                        .k = view(o.key),
                        .v = view(o.value),
                        .causal = o.causal,
                        .start = at<int32_t>(o.start),
                        .newKey = at<void>(o.newKey),
                        .newValue = at<void>(o.newValue),
                        .newBatchStride = o.newKey ? o.newKey->shape[1] * o.newKey->rowStride : 0,
                        .newRowStride = o.newKey ? o.newKey->rowStride : 0,
                        .scale = o.scale,
                        .y = (*this)(o.y),
                        .scratch = nullptr,
                        .source = at<int32_t>(o.source),
                        .scores = at<float>(o.scores),
                        .scoreHeads = at<int32_t>(o.scoreHeads),
                        .scorePosition = at<int32_t>(o.scorePosition),
                        .scoreRows = o.scores ? o.scores->shape[1] : 0,
                        .scoreWidth = o.scores ? o.scores->shape[2] : 0,
                        .rows = at<int32_t>(o.rows),
                        .pool = o.pool(),
                        .keyBegin = at<int32_t>(o.keyBegin),
                        .keyCount = at<int32_t>(o.keyCount),
                        .scoreRow = at<int32_t>(o.scoreRow),
                        .scoreSequences = o.scores ? o.scores->shape[0] : 0,
                        .scoreKeys = o.scores ? o.scores->shape[3] : 0,
                        .keyScales = at<float>(o.keyScales),
                        .valueScales = at<float>(o.valueScales),
                        .scaleStride = o.keyScales ? o.keyScales->shape[1] * o.keyScales->shape[2] : 0};
    AttentionAlgorithm algorithm = kernelAlgorithm(o.algorithm);
    auto step = [&](AttentionPass pass, const char* part) {
      arguments.pass = pass;
      add(std::make_unique<AttentionStep>(arguments, algorithm, kernels_.attention,
                                          attentionScratch(arguments, algorithm, threads_)),
          part);
    };
    if (algorithm != AttentionAlgorithm::multiHead) return step(AttentionPass::all, "");
    step(AttentionPass::scores, "scores");
    step(AttentionPass::softmax, "softmax");
    step(AttentionPass::values, "values");
  }
  /** The attention kernel takes its algorithm beside its arguments. */
  class AttentionStep final : public Step {
   public:
    AttentionStep(const Attention& arguments, AttentionAlgorithm algorithm, decltype(Kernels::attention) kernel,
                  size_t scratch)
        : arguments_(arguments), algorithm_(algorithm), kernel_(kernel), scratch_(scratch) {}
    size_t scratchBytes() const override { return scratch_; }
    void bind(std::byte* scratch) override { arguments_.scratch = scratch; }
    bool collective() const override { return true; }
    void run(const Team& team) override { kernel_(arguments_, algorithm_, team); }

   private:
    Attention arguments_;
    AttentionAlgorithm algorithm_;
    decltype(Kernels::attention) kernel_;
    size_t scratch_;
  };

  void make(const onehead::Copy& o) { kernel(CopyBytes{int64_t(o.x.bytes()), (*this)(o.x), (*this)(o.y)}, copyBytes); }
  void make(const onehead::Embed& o) {
    Embed arguments{.batch = o.y.shape[0],
                    .count = o.count,
                    .width = o.y.shape[2],
                    .vocabulary = o.tokenEmbedding.shape[0],
                    .positions = o.positionEmbedding.shape[0],
                    .tokens = at<int32_t>(o.tokens),
                    .tokenStride = o.tokens.shape[1],
                    .start = at<int32_t>(o.start),
                    .tokenEmbedding = o.tokenScales ? static_cast<const void*>(panels(o.tokenEmbedding, *o.tokenScales))
                                                    : (*this)(o.tokenEmbedding),
                    .tokenFormat = o.tokenScales ? Format::float32 : format(o.tokenEmbedding),
                    .positionEmbedding = at<float>(o.positionEmbedding),
                    .scale = o.scale,
                    .y = at<float>(o.y),
                    .rows = at<int32_t>(o.rows),
                    .pool = o.tokens.shape[0],
                    .tokenScales = at<float>(o.tokenScales)};
    kernel(arguments, kernels_.embed);
  }
  void make(const onehead::GatherRows& o) {
    int64_t batch = o.x.shape[0], width = o.x.shape[2];
    for (int64_t i = 0; i < o.index.shape[0]; ++i) {
      GatherRows arguments{batch,
                           o.x.shape[1],
                           width,
                           at<float>(o.x),
                           at<int32_t>(o.index) + i * batch,
                           0,
                           at<float>(o.y) + i * batch * width,
                           width};
      kernel(arguments, kernels_.gatherRows);
    }
  }
  void make(const onehead::ScatterRows& o) {
    const int64_t element = int64_t(bytesOf(o.x.dtype));
    if (o.scales) {
      const int64_t heads = o.scales->columns();
      kernel(ScatterHeads{.batch = o.x.shape[0],
                          .rows = o.x.shape[1],
                          .positions = o.y.rows(),
                          .heads = heads,
                          .headSize = o.x.columns() / heads,
                          .stride = o.x.rowStride,
                          .x = (*this)(o.x),
                          .xFormat = format(o.x),
                          .begin = at<int32_t>(o.begin),
                          .y = at<int8_t>(o.y),
                          .scales = at<float>(o.scales)},
             kernels_.scatterHeads);
      return;
    }
    if (o.x.dtype != o.y.dtype) {
      kernel(ScatterConverted{.batch = o.x.shape[0],
                              .rows = o.x.shape[1],
                              .positions = o.y.rows(),
                              .width = o.x.columns(),
                              .stride = o.x.rowStride,
                              .x = (*this)(o.x),
                              .xFormat = format(o.x),
                              .begin = at<int32_t>(o.begin),
                              .y = (*this)(o.y),
                              .yFormat = format(o.y),
                              .convert = kernels_.convert},
             scatterConverted);
      return;
    }
    kernel(ScatterBytes{.batch = o.x.shape[0],
                        .rows = o.x.shape[1],
                        .positions = o.y.rows(),
                        .rowBytes = o.x.columns() * element,
                        .strideBytes = o.x.rowStride * element,
                        .x = (*this)(o.x),
                        .begin = at<int32_t>(o.begin),
                        .y = (*this)(o.y)},
           scatterBytes);
  }
  void make(const onehead::TokenProbability& o) {
    TokenProbability arguments{o.logits.shape[0],   o.logits.shape[1], o.logits.shape[1],
                               at<float>(o.logits), int32_t(o.token),  at<float>(o.y)};
    kernel(arguments, kernels_.tokenProbability);
  }
  NextToken nextToken(const onehead::NextToken& o) {
    return NextToken{.batch = o.logits.shape[0],
                     .vocabulary = o.logits.shape[1],
                     .capacity = o.tokens.shape[1],
                     .logits = at<float>(o.logits),
                     .suppressed = at<uint8_t>(o.suppressed),
                     .endToken = int32_t(o.endToken),
                     .timestampBegin = int32_t(o.timestampBegin),
                     .timestampEnd = int32_t(o.timestampEnd),
                     .noTimestampsToken = int32_t(o.noTimestampsToken),
                     .maxInitialTimestamp = int32_t(o.maxInitialTimestamp),
                     .tokens = at<int32_t>(o.tokens),
                     .logProbability = at<float>(o.logProbability),
                     .length = at<int32_t>(o.length),
                     .begin = at<int32_t>(o.begin),
                     .minimum = at<int32_t>(o.minimum),
                     .maximum = at<int32_t>(o.maximum),
                     .timestamps = at<int32_t>(o.timestamps),
                     .finished = at<int32_t>(o.finished),
                     .scratch = nullptr,
                     .temperature = at<float>(o.temperature),
                     .seed = at<int32_t>(o.seed),
                     .repetitionPenalty = at<float>(o.repetitionPenalty),
                     .noRepeat = at<int32_t>(o.noRepeat),
                     .topTokens = at<int32_t>(o.topTokens),
                     .topLogProbability = at<float>(o.topLogProbability),
                     .top = o.topTokens ? o.topTokens->shape[2] : 0,
                     .topCount = at<int32_t>(o.topCount),
                     .rows = at<int32_t>(o.rows),
                     .pool = o.tokens.shape[0],
                     .beams = at<int32_t>(o.beams),
                     .suppressedStride = o.suppressed.shape.size() == 2 ? o.suppressed.shape[1] : 0};
  }
  void make(const onehead::NextToken& o) {
    NextToken arguments = nextToken(o);
    kernel(Advance{arguments, at<int32_t>(o.position), nullptr, kernels_.nextToken}, advance,
           nextTokenScratch(arguments.batch, threads_));
  }
  void make(const onehead::NextBeams& o) {
    NextBeams arguments{.step = nextToken(o.step),
                        .beams = o.step.tokens.shape[0] / o.wanted.shape[0],
                        .most = o.doneScore.shape[1],
                        .position = at<int32_t>(o.step.position),
                        .cumulative = at<float>(o.cumulative),
                        .source = at<int32_t>(o.source),
                        .wanted = at<int32_t>(o.wanted),
                        .doneCount = at<int32_t>(o.doneCount),
                        .doneLength = at<int32_t>(o.doneLength),
                        .doneScore = at<float>(o.doneScore),
                        .doneTokens = at<int32_t>(o.doneTokens),
                        .doneLogProbability = at<float>(o.doneLogProbability),
                        .doneSource = at<int32_t>(o.doneSource),
                        .scratch = nullptr};
    kernel(arguments, kernels_.nextBeams, nextBeamsScratch(arguments, threads_));
  }

  void make(const onehead::AlignPositions& o) {
    AlignPositions arguments{o.source.shape[0],
                             o.scores.shape[0],
                             o.scores.shape[1],
                             o.scores.shape[2],
                             o.scores.shape[3],
                             at<float>(o.scores),
                             at<int32_t>(o.source),
                             at<int32_t>(o.begin),
                             at<int32_t>(o.end),
                             at<int32_t>(o.frames),
                             o.medianWidth,
                             at<int32_t>(o.y),
                             nullptr};
    kernel(arguments, kernels_.alignPositions, alignPositionsScratch(arguments, threads_));
  }

  void make(const onehead::AddWeights& o) {
    AddWeights arguments{.batch = o.rows ? o.rows->shape[0] : o.to.shape[0],
                         .pool = o.to.shape[0],
                         .sources = o.scores.shape[0],
                         .sequences = o.y.shape[0],
                         .positions = o.y.shape[1],
                         .heads = o.scores.shape[2],
                         .keys = o.y.shape[2],
                         .scores = at<float>(o.scores),
                         .rows = at<int32_t>(o.rows),
                         .from = at<int32_t>(o.from),
                         .to = at<int32_t>(o.to),
                         .position = at<int32_t>(o.position),
                         .counted = at<int32_t>(o.keys),
                         .factor = o.factor,
                         .fresh = o.fresh,
                         .y = at<float>(o.y)};
    kernel(arguments, kernels_.addWeights);
  }

  CpuExecutable& executable_;
  const Kernels& kernels_;
  int threads_;
  dnnl::engine& engine_;
  dnnl::stream& stream_;
  size_t index_ = 0;
  std::string name_;
};

}  // namespace

void prepareOperations(CpuExecutable& executable, const Kernels& kernels, int threads, dnnl::engine& engine,
                       dnnl::stream& stream) {
  Preparation preparation(executable, kernels, threads, engine, stream);
  for (size_t i = 0; i < executable.plan().operations.size(); ++i) preparation.prepare(i);
}

}  // namespace onehead::cpu
