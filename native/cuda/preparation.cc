#include "preparation.h"

#include <set>

#include "../core/error.h"
#include "storage.h"

namespace onehead::cuda {

namespace {

/** The scratch memory's parts begin at multiples of this, bytes. */
constexpr size_t scratchAlignment = 256;

/** Bytes that a weight of 8 bits takes in the scratch memory at most, to be multiplied by cuBLASLt there. */
constexpr size_t mostWidened = size_t(64) << 20;

size_t rounded(size_t bytes) { return (bytes + scratchAlignment - 1) / scratchAlignment * scratchAlignment; }

const char* nameOf(AttentionStage stage) {
  switch (stage) {
    case AttentionStage::all:
      return "";
    case AttentionStage::append:
      return "append";
    case AttentionStage::reshape:
      return "split";
    case AttentionStage::scores:
      return "scores";
    case AttentionStage::softmax:
      return "softmax";
    case AttentionStage::values:
      return "values";
  }
  return "";
}

class Preparation {
 public:
  Preparation(CudaExecutable& executable, Context& context, Workspace& workspace, CublasLt* cublasLt)
      : executable_(executable), context_(context), workspace_(workspace), cublasLt_(cublasLt) {
    for (const Operation& operation : executable.plan().operations)
      std::visit([&](const auto& description) { noteWritten(description); }, operation.description);
  }

  void prepare(size_t index) {
    index_ = index;
    name_ = executable_.plan().operations[index].name;
    std::visit([&](const auto& description) { make(description); }, executable_.plan().operations[index].description);
  }

 private:
  /** What an operation writes that others read. */
  template <class Description>
  void noteWritten(const Description& description) {
    if constexpr (requires { description.y; }) written_.insert(description.y.storage.get());
    if constexpr (std::is_same_v<Description, ScatterRows>)
      if (description.scales) written_.insert(description.scales->storage.get());
    if constexpr (std::is_same_v<Description, NextBeams>) {
      noteWritten(description.step);
      for (const Tensor* state : {&description.source, &description.doneCount}) written_.insert(state->storage.get());
    }
    if constexpr (std::is_same_v<Description, NextToken>)
      for (const Tensor* state :
           {&description.tokens, &description.length, &description.position, &description.finished})
        written_.insert(state->storage.get());
    if constexpr (std::is_same_v<Description, onehead::Attention>) {
      if (!description.newKey) return;
      written_.insert(description.key.storage.get());
      written_.insert(description.value.storage.get());
      if (!description.keyScales) return;
      written_.insert(description.keyScales->storage.get());
      written_.insert(description.valueScales->storage.get());
    }
  }
  std::byte* at(const Tensor& tensor) {
    std::byte* base = tensor.storage
                          ? static_cast<CudaStorage&>(*tensor.storage).plain()
                          : executable_.arena() + executable_.plan().temporaries[size_t(tensor.temporary)].offset;
    return base + size_t(tensor.offset) * bytesOf(tensor.dtype);
  }
  template <class T>
  T* at(const Tensor& tensor) {
    return reinterpret_cast<T*>(at(tensor));
  }
  template <class T>
  T* at(const std::optional<Tensor>& tensor) {
    return tensor ? at<T>(*tensor) : nullptr;
  }
  /** An operation of the program writes it. */
  bool changes(const Tensor& tensor) const { return !tensor.storage || written_.contains(tensor.storage.get()); }
  bool changes(const std::optional<Tensor>& tensor) const { return tensor && changes(*tensor); }
  [[noreturn]] void unsupported(const std::string& reason) const {
    throw Error("NOT_SUPPORTED", name_ + ": " + reason);
  }
  /** Adds a launch that needs so much scratch memory and so many counters. */
  void add(Launch launch, size_t scratchBytes = 0, size_t counters = 0, const char* part = "") {
    workspace_.atLeast(scratchBytes, counters);
    executable_.add(std::move(launch), index_, part);
  }
  /** Adds a kernel that works in the workspace: `complete` gives it to the arguments, since it may move later. */
  template <class Arguments, class Complete>
  void kernel(const Arguments& arguments, cudaError_t (*function)(const Arguments&, const Launcher&),
              size_t scratchBytes, size_t counters, Complete complete) {
    add(
        [=](const Launcher& launcher, const Workspace& workspace) {
          Arguments here = arguments;
          complete(here, workspace);
          return function(here, launcher);
        },
        scratchBytes, counters);
  }
  /** Adds a kernel that needs nothing but its arguments. */
  template <class Arguments>
  void kernel(const Arguments& arguments, cudaError_t (*function)(const Arguments&, const Launcher&)) {
    add([=](const Launcher& launcher, const Workspace&) { return function(arguments, launcher); });
  }

  void make(const LogMel& o) {
    LogMelArguments arguments{o.y.shape[0],      o.y.shape[2],         o.window.shape[0],   o.hop,
                              o.y.shape[1],      at<float>(o.samples), at<float>(o.window), at<float>(o.filters),
                              at<float>(o.peak), at<float>(o.y)};
    if (!logMelFits(arguments, context_.launcher()))
      unsupported("a window of " + std::to_string(arguments.fftSize) +
                  " samples needs more shared memory than this GPU has; Whisper's has 400.");
    kernel(arguments, logMel);
  }
  void make(const Copy& o) {
    add([to = at(o.y), from = at(o.x), bytes = o.x.bytes()](const Launcher& launcher, const Workspace&) {
      return copyBytes(to, from, bytes, launcher);
    });
  }
  void make(const TransposeCast& o) {
    kernel({o.x.shape[0], o.x.shape[1], o.x.shape[2], at<float>(o.x), at(o.y), o.y.dtype}, transposeCast);
  }
  void make(const LayerNorm& o) {
    kernel({o.x.rows(), o.x.columns(), at<float>(o.x), at<float>(o.weight), at<float>(o.bias), o.epsilon, at(o.y),
            o.y.dtype},
           layerNorm);
  }

  void make(const Convolution& o) {
    const int64_t length = o.x.shape[1], channels = o.x.shape[2], outputs = o.y.shape[2],
                  kernelSize = o.weight.shape[2];
    ProductArguments arguments{};
    arguments.rows = o.y.shape[0] * o.y.shape[1];
    arguments.columns = outputs;
    arguments.depth = kernelSize * channels;
    arguments.type = o.x.dtype;
    arguments.a = at(o.x);
    arguments.aRows = {o.y.shape[1], length * channels, o.stride * channels, 1};
    arguments.aBegin = -o.padding * channels;
    arguments.aLimit = length * channels;
    arguments.b = o.weight.storage && o.weight.offset == 0 ? static_cast<CudaStorage&>(*o.weight.storage).channelsLast()
                                                           : nullptr;
    arguments.bStride = arguments.depth;
    arguments.epilogue = {1, at<float>(o.bias), o.activation, at<float>(o.residual), o.y.shape[1]};
    arguments.y = at(o.y);
    arguments.yType = o.y.dtype;
    arguments.yRows = {1, outputs, 0, 1};
    if (arguments.b) return kernel(arguments, product);
    // A weight that may change is arranged anew each time.
    kernel({outputs, channels, kernelSize, at(o.weight), nullptr, bytesOf(o.weight.dtype)}, permute, o.weight.bytes(),
           0, [](PermuteArguments& a, const Workspace& workspace) { a.y = workspace.scratch(); });
    kernel(arguments, product, 0, 0,
           [](ProductArguments& a, const Workspace& workspace) { a.b = workspace.scratch(); });
  }

  /** What a product is computed in: the weight's type. One of 8 bits is widened to what x is, or to what the norm of x
   * is rounded to: the output's type. Logits are float32, but where x may become 8 bits, halves are exact enough. */
  static DType typeOf(const Linear& o) {
    if (!o.weightScales) return o.weight.dtype;
    if (!o.normWeight) return o.x.dtype;
    return o.y.dtype == DType::float32 && o.quantized ? DType::float16 : o.y.dtype;
  }
  void make(const Linear& o) {
    const int64_t rows = o.x.rows(), depth = o.x.columns(), columns = o.weight.shape[0];
    const DType type = typeOf(o);
    const Epilogue epilogue{1,    at<float>(o.bias),         o.activation, at<float>(o.residual),
                            rows, at<float>(o.weightScales), nullptr};
    // Of few rows the weight's bytes are all that counts, and x is multiplied as it is.
    if (o.quantized && rows > skinnyRows && depth % 2 == 0) return makeWhole(o, epilogue);
    FewRowsArguments few{
        rows,
        columns,
        depth,
        at(o.x),
        o.x.dtype,
        at(o.weight),
        type,
        changes(o.weight) || changes(o.weightScales) || changes(o.bias) || changes(o.normWeight) || changes(o.normBias),
        at<float>(o.normWeight),
        at<float>(o.normBias),
        o.epsilon,
        epilogue,
        at(o.y),
        o.y.dtype};
    if (clusterProductFits(few, context_.launcher())) return kernel(few, clusterProduct);
    if (matvecFits(few, context_.launcher())) return kernel(few, matvec);

    // Products on tensor cores take x in the weight's type: it is brought there through the scratch memory.
    const bool staged = o.normWeight || o.x.dtype != type;
    const size_t stagedBytes = staged ? rounded(size_t(rows * depth) * bytesOf(type)) : 0;
    if (o.normWeight) {
      kernel({rows, depth, at<float>(o.x), at<float>(o.normWeight), at<float>(o.normBias), o.epsilon, nullptr, type},
             layerNorm, stagedBytes, 0,
             [](LayerNormArguments& a, const Workspace& workspace) { a.y = workspace.scratch(); });
    } else if (staged) {
      CopyRowsArguments cast{};
      cast.rows = 1;
      cast.width = rows * depth;
      cast.x = at(o.x);
      cast.xType = o.x.dtype;
      cast.yType = type;
      kernel(cast, copyRows, stagedBytes, 0,
             [](CopyRowsArguments& a, const Workspace& workspace) { a.y = workspace.scratch(); });
    }
    const void* x = staged ? nullptr : at(o.x);
    few.x = x;
    few.xType = type;
    few.normWeight = few.normBias = nullptr;
    if (clusterProductFits(few, context_.launcher())) {
      return kernel(few, clusterProduct, stagedBytes, 0, [](FewRowsArguments& a, const Workspace& workspace) {
        if (!a.x) a.x = workspace.scratch();
      });
    }
    SkinnyArguments some{
        rows,     columns, depth,    x, at(o.weight), type, changes(o.weight) || changes(o.weightScales),
        epilogue, at(o.y), o.y.dtype};
    if (skinnyFits(some)) {
      return kernel(some, skinny, stagedBytes, 0, [](SkinnyArguments& a, const Workspace& workspace) {
        if (!a.x) a.x = workspace.scratch();
      });
    }
    if (!large(o, x, stagedBytes)) own(o, x, epilogue, stagedBytes);
  }

  /** Rows of x and weights as whole numbers: the rows are quantized first, behind their norm. */
  void makeWhole(const Linear& o, const Epilogue& epilogue) {
    const int64_t rows = o.x.rows(), depth = o.x.columns(), columns = o.weight.shape[0];
    const int64_t stride = (depth + 15) / 16 * 16;
    const size_t scalesAt = rounded(size_t(rows * stride)), end = scalesAt + rounded(size_t(rows) * sizeof(float));
    const QuantizeRowsArguments x{
        rows,      depth,   at(o.x), o.x.dtype, at<float>(o.normWeight), at<float>(o.normBias),
        o.epsilon, nullptr, stride,  nullptr};
    kernel(x, quantizeRows, end, 0, [scalesAt](QuantizeRowsArguments& a, const Workspace& workspace) {
      a.y = reinterpret_cast<int8_t*>(workspace.scratch());
      a.scales = reinterpret_cast<float*>(workspace.scratch() + scalesAt);
    });
    if (largeWhole(o, epilogue, stride, scalesAt, end)) return;
    ProductArguments arguments{};
    arguments.rows = rows;
    arguments.columns = columns;
    arguments.depth = depth;
    arguments.type = DType::int8;
    arguments.aRows = {1, stride, 0, 1};
    arguments.b = at(o.weight);
    arguments.bStride = depth;
    arguments.epilogue = epilogue;
    arguments.y = at(o.y);
    arguments.yType = o.y.dtype;
    arguments.yRows = {1, columns, 0, 1};
    kernel(arguments, product, end, 0, [scalesAt](ProductArguments& a, const Workspace& workspace) {
      a.a = workspace.scratch();
      a.epilogue.rowScales = reinterpret_cast<const float*>(workspace.scratch() + scalesAt);
    });
  }

  /** By cuBLASLt, whose sums are whole numbers of 32 bits: as many rows at a time as keep them in the second-level
   * cache, and a kernel of ours behind. False where it cannot. */
  bool largeWhole(const Linear& o, const Epilogue& epilogue, int64_t stride, size_t scalesAt, size_t begin) {
    const int64_t rows = o.x.rows(), depth = o.x.columns(), columns = o.weight.shape[0];
    if (!cublasLt_ || depth % 16 || columns % 4 || reinterpret_cast<uintptr_t>(at(o.weight)) % 16) return false;
    constexpr int64_t sumBytes = int64_t(32) << 20, rowStep = 128;
    const int64_t atOnce = std::max(rowStep, sumBytes / int64_t(sizeof(int32_t)) / columns / rowStep * rowStep);
    const size_t end = begin + rounded(size_t(std::min(rows, atOnce) * columns) * sizeof(int32_t));
    workspace_.atLeast(end + CublasLt::workspaceBytes, 0);
    struct Piece {
      int64_t first, rows;
      CublasLt::Run run;
    };
    std::vector<Piece> pieces;
    for (int64_t first = 0; first < rows; first += atOnce) {
      const int64_t count = std::min(atOnce, rows - first);
      const LargeProduct arguments{count,   columns, depth,   DType::int8, at(o.weight),
                                   nullptr, nullptr, nullptr, DType::int32};
      const CublasLt::Trial trial{
          {.x = workspace_.scratch(), .workspace = workspace_.scratch() + end, .y = workspace_.scratch() + begin},
          context_.stream()};
      CublasLt::Run run = cublasLt_->prepare(arguments, scratchAlignment, &trial);
      if (!run) return false;
      pieces.push_back({first, count, std::move(run)});
    }
    for (Piece& piece : pieces) {
      add(
          [run = std::move(piece.run), xAt = size_t(piece.first * stride), begin, end, context = &context_,
           doing = "starting " + executable_.title(index_)](const Launcher& launcher, const Workspace& workspace) {
            const int status = run({.x = workspace.scratch() + xAt,
                                    .workspace = workspace.scratch() + end,
                                    .y = workspace.scratch() + begin},
                                   launcher.stream);
            if (status != 0) context->fail(doing, CublasLt::describe(status));
            return cudaSuccess;
          },
          end + CublasLt::workspaceBytes);
      FinishSumsArguments finish{piece.rows, columns, nullptr, epilogue, nullptr, o.y.dtype};
      finish.y = at(o.y) + size_t(piece.first * columns) * bytesOf(o.y.dtype);
      if (finish.epilogue.residual) finish.epilogue.residual += piece.first * columns;
      kernel(finish, finishSums, end, 0,
             [begin, scalesAt, first = piece.first](FinishSumsArguments& a, const Workspace& workspace) {
               a.sums = reinterpret_cast<const int32_t*>(workspace.scratch() + begin);
               a.epilogue.rowScales = reinterpret_cast<const float*>(workspace.scratch() + scalesAt) + first;
             });
    }
    return true;
  }

  /** By cuBLASLt; false where it cannot. A null x lies in the scratch memory, which is the library's behind `begin`. A
   * weight of 8 bits is widened there first. */
  bool large(const Linear& o, const void* x, size_t begin) {
    if (!cublasLt_) return false;
    const DType type = typeOf(o);
    const size_t widenedAt = begin, widenedBytes = o.weightScales ? rounded(o.weight.bytes() * bytesOf(type)) : 0;
    if (widenedBytes > mostWidened) return false;
    begin += widenedBytes;
    LargeProduct arguments{
        o.x.rows(), o.weight.shape[0],     o.x.columns(), type,     o.weightScales ? nullptr : at(o.weight),
        nullptr,    at<float>(o.residual), at(o.y),       o.y.dtype};
    // The activation comes before the residual; the library adds the residual itself.
    if (arguments.residual && (o.activation != Activation::none || o.y.dtype != DType::float32)) return false;
    if (o.bias) {
      // It takes the bias in y's type only.
      const bool whole = o.bias->storage && o.bias->offset == 0;
      arguments.bias = o.y.dtype == DType::float32 ? at(*o.bias)
                       : whole                     ? static_cast<CudaStorage&>(*o.bias->storage).as(o.y.dtype)
                                                   : nullptr;
      if (!arguments.bias) return false;
    }
    size_t alignment = scratchAlignment;
    while (x && reinterpret_cast<uintptr_t>(x) % alignment != 0) alignment /= 2;
    // Between runs the temporaries' memory holds nothing; other outputs may hold what somebody wrote.
    workspace_.atLeast(begin + CublasLt::workspaceBytes, 0);
    auto places = [=](const Workspace& workspace) {
      return CublasLt::Places{.x = x ? x : workspace.scratch(),
                              .workspace = workspace.scratch() + begin,
                              .weight = widenedBytes ? workspace.scratch() + widenedAt : nullptr};
    };
    const CublasLt::Trial trial{places(workspace_), context_.stream()};
    CublasLt::Run run = cublasLt_->prepare(arguments, alignment, o.y.storage ? nullptr : &trial);
    if (!run) return false;
    if (widenedBytes)
      kernel(WidenRowsArguments{o.weight.shape[0], o.weight.shape[1], at<int8_t>(o.weight), at<float>(o.weightScales),
                                nullptr, type},
             widenRows, begin, 0,
             [widenedAt](WidenRowsArguments& a, const Workspace& workspace) { a.y = workspace.scratch() + widenedAt; });
    add(
        [run = std::move(run), places, context = &context_, doing = "starting " + executable_.title(index_)](
            const Launcher& launcher, const Workspace& workspace) {
          const int status = run(places(workspace), launcher.stream);
          if (status != 0) context->fail(doing, CublasLt::describe(status));
          return cudaSuccess;
        },
        begin + CublasLt::workspaceBytes);
    if (o.activation != Activation::none) {
      add([y = at(o.y), type = o.y.dtype, elements = o.y.elements(), activation = o.activation](
              const Launcher& launcher, const Workspace&) {
        return activateInPlace(y, type, elements, activation, launcher);
      });
    }
    return true;
  }

  void own(const Linear& o, const void* x, const Epilogue& epilogue, size_t scratchBytes) {
    ProductArguments arguments{};
    arguments.rows = o.x.rows();
    arguments.columns = o.weight.shape[0];
    arguments.depth = o.x.columns();
    arguments.type = typeOf(o);
    arguments.a = x;
    arguments.aRows = {1, arguments.depth, 0, 1};
    arguments.b = at(o.weight);
    arguments.bStride = arguments.depth;
    arguments.epilogue = epilogue;
    arguments.y = at(o.y);
    arguments.yType = o.y.dtype;
    arguments.yRows = {1, arguments.columns, 0, 1};
    kernel(arguments, product, scratchBytes, 0, [](ProductArguments& a, const Workspace& workspace) {
      if (!a.a) a.a = workspace.scratch();
    });
  }

  AttentionView view(const onehead::Attention& o, const Tensor& tensor, const char* which) {
    AttentionView made{at(tensor), o.batchStride(tensor), o.lengthStride(tensor)};
    const size_t element = bytesOf(tensor.dtype);
    if (reinterpret_cast<uintptr_t>(made.data) % 16 || size_t(made.batchStride) * element % 16 ||
        size_t(made.rowStride) * element % 16)
      unsupported(std::string("the CUDA device takes ") + which + " in rows that begin at multiples of 16 bytes.");
    return made;
  }
  void make(const onehead::Attention& o) {
    if (o.headSize > 128 || o.headSize % 16)
      unsupported("the CUDA device takes head sizes from 16 to 128 in steps of 16, not " + std::to_string(o.headSize) +
                  ".");
    AttentionArguments arguments{};
    arguments.batch = o.batch();
    arguments.queries = o.queries();
    arguments.keys = o.keys();
    arguments.heads = o.heads;
    arguments.keyValueHeads = o.keyValueHeads;
    arguments.headSize = o.headSize;
    arguments.type = o.query.dtype;
    arguments.q = view(o, o.query, "the query");
    arguments.k = view(o, o.key, "the key");
    arguments.v = view(o, o.value, "the value");
    arguments.causal = o.causal;
    arguments.start = at<int32_t>(o.start);
    if (o.newKey) {
      arguments.newKey = view(o, *o.newKey, "newKey");
      arguments.newValue = view(o, *o.newValue, "newValue");
    }
    arguments.scale = o.scale;
    arguments.y = view(o, o.y, "the output");
    arguments.source = at<int32_t>(o.source);
    if (o.scores) {
      arguments.scores = at<float>(*o.scores);
      arguments.scoreHeads = at<int32_t>(o.scoreHeads);
      arguments.scorePosition = at<int32_t>(o.scorePosition);
      arguments.scoreRows = o.scores->shape[1];
      arguments.scoreWidth = o.scores->shape[2];
      arguments.scoreSequences = o.scores->shape[0];
      arguments.scoreKeys = o.scores->shape[3];
      arguments.scoreRow = at<int32_t>(o.scoreRow);
    }
    arguments.rows = at<int32_t>(o.rows);
    arguments.pool = o.pool();
    arguments.keyBegin = at<int32_t>(o.keyBegin);
    arguments.keyCount = at<int32_t>(o.keyCount);
    arguments.keyScales = at<float>(o.keyScales);
    arguments.valueScales = at<float>(o.valueScales);
    arguments.keysStay = !o.newKey && !o.start && !o.source && !changes(o.key) && !changes(o.value) &&
                         !changes(o.keyScales) && !changes(o.valueScales) && !changes(o.rows) && !changes(o.keyBegin) &&
                         !changes(o.keyCount);
    const AttentionNeeds needs = attentionNeeds(arguments, o.algorithm, context_.launcher());
    for (AttentionStage stage : attentionStages(arguments, o.algorithm))
      add(
          [arguments, algorithm = o.algorithm, stage](const Launcher& launcher, const Workspace& workspace) {
            AttentionArguments here = arguments;
            here.scratch = workspace.scratch();
            here.counters = workspace.counters();
            return attention(here, algorithm, stage, launcher);
          },
          needs.scratchBytes, needs.counters, nameOf(stage));
  }

  void make(const Embed& o) {
    kernel({.batch = o.y.shape[0],
            .count = o.count,
            .width = o.y.shape[2],
            .vocabulary = o.tokenEmbedding.shape[0],
            .positions = o.positionEmbedding.shape[0],
            .tokens = at<int32_t>(o.tokens),
            .tokenStride = o.tokens.shape[1],
            .start = at<int32_t>(o.start),
            .tokenEmbedding = at(o.tokenEmbedding),
            .tokenType = o.tokenEmbedding.dtype,
            .positionEmbedding = at<float>(o.positionEmbedding),
            .scale = o.scale,
            .y = at<float>(o.y),
            .rows = at<int32_t>(o.rows),
            .pool = o.tokens.shape[0],
            .tokenScales = at<float>(o.tokenScales)},
           embed);
  }
  void make(const GatherRows& o) {
    kernel({o.index.shape[0], o.x.shape[0], o.x.shape[1], o.x.shape[2], at<float>(o.x), at<int32_t>(o.index),
            at<float>(o.y)},
           gatherRows);
  }
  void make(const ScatterRows& o) {
    if (o.scales) {
      QuantizeHeadsArguments heads{};
      heads.batch = o.x.shape[0];
      heads.rows = o.x.shape[1];
      heads.positions = o.y.rows();
      heads.heads = o.scales->columns();
      heads.headSize = o.x.columns() / heads.heads;
      heads.xType = o.x.dtype;
      heads.batchStride = o.x.shape[1] * o.x.rowStride;
      heads.rowStride = o.x.rowStride;
      heads.begin = at<int32_t>(o.begin);
      heads.parts[0] = {at(o.x), at<int8_t>(o.y), at<float>(*o.scales)};
      heads.count = 1;
      return kernel(heads, quantizeHeads);
    }
    kernel({.batch = o.x.shape[0],
            .rows = o.x.shape[1],
            .positions = o.y.rows(),
            .width = o.x.columns(),
            .stride = o.x.rowStride,
            .x = at(o.x),
            .xType = o.x.dtype,
            .begin = at<int32_t>(o.begin),
            .y = at(o.y),
            .yType = o.y.dtype},
           scatterRows);
  }
  void make(const TokenProbability& o) {
    kernel({o.logits.shape[0], o.logits.shape[1], at<float>(o.logits), int32_t(o.token), at<float>(o.y)},
           tokenProbability);
  }
  NextTokenArguments arguments(const NextToken& o) {
    NextTokenArguments a{};
    a.batch = o.logits.shape[0];
    a.vocabulary = o.logits.shape[1];
    a.capacity = o.tokens.shape[1];
    a.logits = at<float>(o.logits);
    a.suppressed = at<uint8_t>(o.suppressed);
    a.endToken = int32_t(o.endToken);
    a.timestampBegin = int32_t(o.timestampBegin);
    a.timestampEnd = int32_t(o.timestampEnd);
    a.noTimestampsToken = int32_t(o.noTimestampsToken);
    a.maxInitialTimestamp = int32_t(o.maxInitialTimestamp);
    a.tokens = at<int32_t>(o.tokens);
    a.logProbability = at<float>(o.logProbability);
    a.length = at<int32_t>(o.length);
    a.position = at<int32_t>(o.position);
    a.begin = at<int32_t>(o.begin);
    a.minimum = at<int32_t>(o.minimum);
    a.maximum = at<int32_t>(o.maximum);
    a.timestamps = at<int32_t>(o.timestamps);
    a.finished = at<int32_t>(o.finished);
    a.temperature = at<float>(o.temperature);
    a.seed = at<int32_t>(o.seed);
    a.repetitionPenalty = at<float>(o.repetitionPenalty);
    a.noRepeat = at<int32_t>(o.noRepeat);
    a.topTokens = at<int32_t>(o.topTokens);
    a.topLogProbability = at<float>(o.topLogProbability);
    a.top = o.topTokens ? o.topTokens->shape[2] : 0;
    a.topCount = at<int32_t>(o.topCount);
    a.rows = at<int32_t>(o.rows);
    a.pool = o.tokens.shape[0];
    a.beams = at<int32_t>(o.beams);
    a.suppressedStride = o.suppressed.shape.size() == 2 ? o.suppressed.shape[1] : 0;
    return a;
  }
  void make(const NextToken& o) {
    const NextTokenArguments made = arguments(o);
    kernel(made, nextToken, nextTokenScratch(made), size_t(made.batch),
           [](NextTokenArguments& a, const Workspace& workspace) {
             a.scratch = workspace.scratch();
             a.counters = workspace.counters();
           });
  }
  void make(const NextBeams& o) {
    NextBeamsArguments a{};
    a.step = arguments(o.step);
    a.beams = o.step.tokens.shape[0] / o.wanted.shape[0];
    a.most = o.doneScore.shape[1];
    a.cumulative = at<float>(o.cumulative);
    a.source = at<int32_t>(o.source);
    a.wanted = at<int32_t>(o.wanted);
    a.doneCount = at<int32_t>(o.doneCount);
    a.doneLength = at<int32_t>(o.doneLength);
    a.doneScore = at<float>(o.doneScore);
    a.doneTokens = at<int32_t>(o.doneTokens);
    a.doneLogProbability = at<float>(o.doneLogProbability);
    a.doneSource = at<int32_t>(o.doneSource);
    kernel(a, nextBeams, nextBeamsScratch(a), size_t(a.step.batch),
           [](NextBeamsArguments& here, const Workspace& workspace) {
             here.step.scratch = workspace.scratch();
             here.step.counters = workspace.counters();
           });
  }
  void make(const AlignPositions& o) {
    const AlignPositionsArguments a{o.scores.shape[0],
                                    o.scores.shape[1],
                                    o.scores.shape[2],
                                    o.scores.shape[3],
                                    o.source.shape[0],
                                    o.medianWidth,
                                    at<float>(o.scores),
                                    at<int32_t>(o.source),
                                    at<int32_t>(o.begin),
                                    at<int32_t>(o.end),
                                    at<int32_t>(o.frames),
                                    at<int32_t>(o.y),
                                    nullptr};
    if (!alignPositionsFits(a, context_.launcher()))
      unsupported(std::to_string(a.positions) + " positions need more shared memory than this GPU has.");
    kernel(a, alignPositions, alignPositionsScratch(a), 0,
           [](AlignPositionsArguments& here, const Workspace& workspace) { here.scratch = workspace.scratch(); });
  }

  void make(const AddWeights& o) {
    const AddWeightsArguments a{.batch = o.rows ? o.rows->shape[0] : o.to.shape[0],
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
    if (!addWeightsFits(a, context_.launcher()))
      unsupported(std::to_string(a.heads) + " heads need more shared memory than this GPU has.");
    kernel(a, addWeights);
  }

  CudaExecutable& executable_;
  Context& context_;
  Workspace& workspace_;
  CublasLt* cublasLt_;
  std::set<const Storage*> written_;
  size_t index_ = 0;
  std::string name_;
};

}  // namespace

void prepareOperations(CudaExecutable& executable, Context& context, Workspace& workspace, CublasLt* cublasLt) {
  Preparation preparation(executable, context, workspace, cublasLt);
  for (size_t i = 0; i < executable.plan().operations.size(); ++i) preparation.prepare(i);
}

}  // namespace onehead::cuda
