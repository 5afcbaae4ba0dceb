// Checks of what callers ask to record: one function an operation, each argument with what was expected and what came.
#include "operations.h"

#include <functional>

#include "arguments.h"
#include "decoding_operations.h"

namespace onehead {

namespace {

constexpr int64_t anyInteger = int64_t(1) << 40;

LogMel logMel(const Arguments& arguments) {
  const Tensor& samples = arguments.typed(arguments.tensor("samples", 2), "samples", DType::float32);
  const Tensor& window = arguments.typed(arguments.tensor("window", 1), "window", DType::float32);
  int64_t batch = samples.shape[0], fft = window.shape[0], hop = arguments.integer("hop", 1, fft);
  if (fft % 2) arguments.refuse("INVALID_SHAPE", "window", "of an even number of samples", toString(window.shape));
  const Tensor& filters = arguments.typed(arguments.tensor("filters", 2), "filters", DType::float32);
  if (filters.shape[1] != fft / 2 + 1)
    arguments.refuse("INVALID_SHAPE", "filters", "[mels, " + std::to_string(fft / 2 + 1) + "]",
                     toString(filters.shape));
  int64_t count = samples.shape[1];
  if (count < fft || (count - fft) % hop)
    arguments.refuse("INVALID_SHAPE", "samples",
                     "[batch, (frames - 1) * " + std::to_string(hop) + " + " + std::to_string(fft) + "]",
                     toString(samples.shape));
  int64_t frames = (count - fft) / hop + 1;
  return {samples,
          window,
          filters,
          arguments.shaped("peak", {batch}, DType::float32),
          arguments.output(DType::float32, {batch, filters.shape[0], frames}),
          hop};
}

Copy copy(const Arguments& arguments) {
  const Tensor& x = arguments.tensor("x");
  if (x.shape.empty() || x.elements() <= 0) arguments.refuse("INVALID_SHAPE", "x", "elements", toString(x.shape));
  if (!x.contiguous()) arguments.refuse("INVALID_ARGUMENT", "x", "a whole tensor", "a view of some of its columns");
  return {x, arguments.output(x.dtype, x.shape)};
}

TransposeCast transposeCast(const Arguments& arguments) {
  const Tensor& x = arguments.typed(arguments.tensor("x", 3), "x", DType::float32);
  return {x, arguments.output(arguments.dtype(DType::float32), {x.shape[0], x.shape[2], x.shape[1]})};
}

Convolution convolution(const Arguments& arguments) {
  const Tensor& x = arguments.floating(arguments.tensor("x", 3), "x");
  const Tensor& weight = arguments.typed(arguments.tensor("weight", 3), "weight", x.dtype);
  int64_t channels = weight.shape[0], kernel = weight.shape[2];
  if (weight.shape[1] != x.shape[2])
    arguments.refuse("INVALID_SHAPE", "weight", "[channels, " + std::to_string(x.shape[2]) + ", kernel]",
                     toString(weight.shape));
  int64_t stride = arguments.integer("stride", 1, anyInteger, 1), padding = arguments.integer("padding", 0, kernel, 0);
  int64_t padded = x.shape[1] + 2 * padding;
  if (padded < kernel) arguments.refuse("INVALID_SHAPE", "x", "at least as long as the kernel", toString(x.shape));
  int64_t length = (padded - kernel) / stride + 1;
  return {x,
          weight,
          arguments.maybe("bias", {channels}, DType::float32),
          arguments.maybe("residual", {length, channels}, DType::float32),
          stride,
          padding,
          arguments.activation(),
          arguments.output(arguments.dtype(x.dtype), {x.shape[0], length, channels})};
}

LayerNorm layerNorm(const Arguments& arguments) {
  const Tensor& x = arguments.tensor("x");
  if (x.shape.empty() || x.columns() <= 0 || !x.contiguous())
    arguments.refuse("INVALID_SHAPE", "x", "whole rows to normalise", toString(x.shape));
  arguments.typed(x, "x", DType::float32);
  return {x, arguments.shaped("weight", {x.columns()}, DType::float32),
          arguments.shaped("bias", {x.columns()}, DType::float32), float(arguments.number("epsilon", 1e-5)),
          arguments.output(arguments.dtype(DType::float32), x.shape)};
}

Linear linear(const Arguments& arguments) {
  const Tensor& x = arguments.floating(arguments.tensor("x"), "x");
  if (x.shape.empty() || x.elements() <= 0) arguments.refuse("INVALID_SHAPE", "x", "rows", toString(x.shape));
  if (!x.contiguous()) arguments.refuse("INVALID_ARGUMENT", "x", "a whole tensor", "a view of some of its columns");
  const bool bytes = arguments.tensor("weight", 2).dtype == DType::int8;
  const Tensor& weight =
      bytes ? arguments.tensor("weight", 2) : arguments.floating(arguments.tensor("weight", 2), "weight");
  if (weight.shape[1] != x.columns())
    arguments.refuse("INVALID_SHAPE", "weight", "[outputs, " + std::to_string(x.columns()) + "]",
                     toString(weight.shape));
  int64_t outputs = weight.shape[0];
  Shape shape = x.shape;
  shape.back() = outputs;
  bool norm = arguments.has("normWeight");
  if (norm != arguments.has("normBias"))
    arguments.refuse("INVALID_ARGUMENT", "normBias", "given together with normWeight", "one of them alone");
  if (bytes != arguments.has("weightScales"))
    arguments.refuse("INVALID_ARGUMENT", "weightScales", "given with an int8 weight, and with no other",
                     bytes ? "nothing" : "a tensor");
  const bool quantized = arguments.integer("quantized", 0, 1, 0) == 1;
  if (quantized && !bytes) arguments.refuse("INVALID_ARGUMENT", "quantized", "0 where the weight is not int8", "1");
  if (norm)
    arguments.typed(x, "x", DType::float32);
  else if (!bytes && x.dtype != weight.dtype && x.dtype != DType::float32)
    arguments.refuse("INVALID_DTYPE", "x", std::string(nameOf(weight.dtype)) + " or float32",
                     std::string(nameOf(x.dtype)));
  auto residual = arguments.maybe("residual", shape, DType::float32);
  return {x,
          weight,
          arguments.maybe("bias", {outputs}, DType::float32),
          arguments.maybe("normWeight", {x.columns()}, DType::float32),
          arguments.maybe("normBias", {x.columns()}, DType::float32),
          residual,
          float(arguments.number("epsilon", 1e-5)),
          arguments.activation(),
          arguments.output(arguments.dtype(residual || bytes ? DType::float32 : weight.dtype), shape),
          arguments.maybe("weightScales", {outputs}, DType::float32),
          quantized};
}

Attention attention(const Arguments& arguments) {
  const Tensor& query = arguments.floating(arguments.tensor("query", 3, true), "query");
  const DType cached = arguments.has("keyScales") ? DType::int8 : query.dtype;
  const Tensor& key = arguments.typed(arguments.tensor("key", 3, true), "key", cached);
  auto algorithm = arguments.choice<AttentionAlgorithm>("algorithm",
                                                        {{"multi-head", AttentionAlgorithm::multiHead},
                                                         {"multi-query", AttentionAlgorithm::multiQuery},
                                                         {"multi-query-1", AttentionAlgorithm::multiQueryReshaped},
                                                         {"memory-efficient", AttentionAlgorithm::memoryEfficient},
                                                         {"split-kv", AttentionAlgorithm::splitKeyValue}},
                                                        "memory-efficient");
  const bool lengthFirst = algorithm == AttentionAlgorithm::multiQuery;
  int64_t batch = query.shape[lengthFirst ? 1 : 0], queries = query.shape[lengthFirst ? 0 : 1];
  int64_t keys = key.shape[lengthFirst ? 0 : 1];
  const bool ranges = arguments.has("keyBegin"), rows = arguments.has("rows");
  const bool pooled = ranges || rows || arguments.has("scoreRow");
  if (pooled && algorithm != AttentionAlgorithm::memoryEfficient && algorithm != AttentionAlgorithm::splitKeyValue)
    arguments.refuse("NOT_SUPPORTED",
                     ranges ? "keyBegin"
                     : rows ? "rows"
                            : "scoreRow",
                     "given with the algorithm 'memory-efficient' or 'split-kv'", "another algorithm");
  if (ranges != arguments.has("keyCount"))
    arguments.refuse("INVALID_ARGUMENT", "keyCount", "given together with keyBegin", "one of them alone");
  // Rows of the state, and of the keys and values: every entry's own, a pool's, or the one pool of positions.
  int64_t pool = !rows ? batch : ranges ? arguments.tensor("keyBegin", 1).shape[0] : key.shape[0];
  int64_t held = ranges ? 1 : pool;
  auto shape = [&](int64_t length, int64_t width, int64_t sequences) {
    return lengthFirst ? Shape{length, sequences, width} : Shape{sequences, length, width};
  };
  int64_t heads = arguments.integer("heads", 1, query.shape[2]);
  int64_t keyValueHeads = arguments.integer("keyValueHeads", 1, heads, double(heads));
  if (query.shape[2] % heads)
    arguments.refuse("INVALID_SHAPE", "query", "[batch, length, heads * head size]", toString(query.shape));
  if (heads % keyValueHeads)
    arguments.refuse("INVALID_ARGUMENT", "keyValueHeads", "a divisor of " + std::to_string(heads) + " heads",
                     std::to_string(keyValueHeads));
  bool shared = lengthFirst || algorithm == AttentionAlgorithm::multiQueryReshaped;
  if (shared && keyValueHeads != 1)
    arguments.refuse("NOT_SUPPORTED", "keyValueHeads", "1, which is what multi-query attention is about",
                     std::to_string(keyValueHeads));
  int64_t size = query.shape[2] / heads;
  if (size > 256) arguments.refuse("NOT_SUPPORTED", "query", "of head size 256 at most", std::to_string(size));
  arguments.shaped("key", shape(keys, keyValueHeads * size, held), true);
  const Tensor& value =
      arguments.typed(arguments.shaped("value", shape(keys, keyValueHeads * size, held), true), "value", cached);
  if (arguments.has("keyScales") != arguments.has("valueScales"))
    arguments.refuse("INVALID_ARGUMENT", "valueScales", "given together with keyScales", "one of them alone");
  if (cached == DType::int8 && algorithm != AttentionAlgorithm::splitKeyValue)
    arguments.refuse("NOT_SUPPORTED", "keyScales", "given with the algorithm 'split-kv'", "another algorithm");
  if (cached == DType::int8 && !(key.contiguous() && value.contiguous()))
    arguments.refuse("INVALID_ARGUMENT", "key", "a whole tensor where it is int8", "a view of some of its columns");
  bool causal = arguments.integer("causal", 0, 1, 0) == 1, append = arguments.has("newKey");
  if (append != arguments.has("newValue"))
    arguments.refuse("INVALID_ARGUMENT", "newValue", "given together with newKey", "one of them alone");
  if (ranges && (append || causal || arguments.has("start")))
    arguments.refuse("INVALID_ARGUMENT", "keyBegin", "given without append, causal and start", "one of these");
  if (append && !arguments.has("start"))
    arguments.refuse("INVALID_ARGUMENT", "start", "given where keys are appended", "nothing");
  if (queries > keys && (causal || append))
    arguments.refuse("INVALID_SHAPE", "query",
                     "at most as long as the keys (" + std::to_string(keys) + ") when causal or appending",
                     std::to_string(queries));
  std::optional<Tensor> newKey, newValue;
  if (append) {
    Shape rows = shape(queries, keyValueHeads * size, batch);
    newKey = arguments.typed(arguments.shaped("newKey", rows, true), "newKey", query.dtype);
    newValue = arguments.typed(arguments.shaped("newValue", rows, true), "newValue", query.dtype);
    if (newKey->rowStride != newValue->rowStride)
      arguments.refuse("INVALID_ARGUMENT", "newValue", "in rows as far apart as newKey's", "another row stride");
  }
  auto start = arguments.maybe("start", {pool}, DType::int32);
  auto source = arguments.maybe("source", {pool, keys}, DType::int32);
  if (source && (algorithm != AttentionAlgorithm::splitKeyValue || !start || !causal))
    arguments.refuse("NOT_SUPPORTED", "source", "given with start, causal and the algorithm 'split-kv'",
                     "other arguments");
  std::optional<Tensor> scores, scoreHeads, scorePosition, scoreRow;
  if (arguments.has("scores")) {
    if (shared) arguments.refuse("NOT_SUPPORTED", "scores", "absent for the multi-query algorithms", "a tensor");
    if (pooled && queries != 1)
      arguments.refuse("NOT_SUPPORTED", "scores", "of one query an entry where rows of a pool are chosen",
                       std::to_string(queries));
    scores = arguments.typed(arguments.tensor("scores", 4), "scores", DType::float32);
    scoreRow = arguments.maybe("scoreRow", {pool}, DType::int32);
    if ((!scoreRow && scores->shape[0] != batch * queries) || (!pooled && scores->shape[3] != keys))
      arguments.refuse("INVALID_SHAPE", "scores",
                       "[" + std::to_string(batch * queries) + ", positions, heads, " + std::to_string(keys) + "]",
                       toString(scores->shape));
    scoreHeads = arguments.shaped("scoreHeads", {heads}, DType::int32);
    scorePosition = arguments.shaped("scorePosition", {pool * queries}, DType::int32);
  } else if (arguments.has("scoreRow")) {
    arguments.refuse("INVALID_ARGUMENT", "scoreRow", "given together with scores", "scoreRow alone");
  }
  return {.query = query,
          .key = key,
          .value = value,
          .newKey = newKey,
          .newValue = newValue,
          .start = start,
          .heads = heads,
          .keyValueHeads = keyValueHeads,
          .headSize = size,
          .causal = causal,
          .scale = float(arguments.number("scale", 1 / std::sqrt(double(size)))),
          .algorithm = algorithm,
          .y = arguments.output(query.dtype, query.shape),
          .source = source,
          .scores = scores,
          .scoreHeads = scoreHeads,
          .scorePosition = scorePosition,
          .rows = arguments.maybe("rows", {batch}, DType::int32),
          .keyBegin = arguments.maybe("keyBegin", {pool}, DType::int32),
          .keyCount = arguments.maybe("keyCount", {pool}, DType::int32),
          .scoreRow = scoreRow,
          .keyScales = arguments.maybe("keyScales", {held, keys, keyValueHeads}, DType::float32),
          .valueScales = arguments.maybe("valueScales", {held, keys, keyValueHeads}, DType::float32)};
}

template <class T>
using Describe = T (*)(const Arguments&);

/** Runs one description and says where its output is. */
template <class T>
OperationDescription run(Describe<T> describe, const Arguments& arguments, Tensor& output) {
  T description = describe(arguments);
  if constexpr (requires { description.y; })
    output = description.y;
  else if constexpr (requires { description.step; })
    output = description.step.logits;
  else
    output = description.logits;  // changed in place
  return description;
}

}  // namespace

Operation describe(const Request& request, Recorder& recorder, Tensor& output) {
  using Make = std::function<OperationDescription(const Arguments&, Tensor&)>;
  static const std::map<std::string, Make> makers{
      {"logMel", [](auto& a, auto& y) { return run(logMel, a, y); }},
      {"copy", [](auto& a, auto& y) { return run(copy, a, y); }},
      {"transposeCast", [](auto& a, auto& y) { return run(transposeCast, a, y); }},
      {"convolution", [](auto& a, auto& y) { return run(convolution, a, y); }},
      {"layerNorm", [](auto& a, auto& y) { return run(layerNorm, a, y); }},
      {"linear", [](auto& a, auto& y) { return run(linear, a, y); }},
      {"attention", [](auto& a, auto& y) { return run(attention, a, y); }},
      {"embed", [](auto& a, auto& y) { return run(embed, a, y); }},
      {"gatherRows", [](auto& a, auto& y) { return run(gatherRows, a, y); }},
      {"scatterRows", [](auto& a, auto& y) { return run(scatterRows, a, y); }},
      {"tokenProbability", [](auto& a, auto& y) { return run(tokenProbability, a, y); }},
      {"nextToken", [](auto& a, auto& y) { return run(nextToken, a, y); }},
      {"nextBeams", [](auto& a, auto& y) { return run(nextBeams, a, y); }},
      {"alignPositions", [](auto& a, auto& y) { return run(alignPositions, a, y); }},
      {"addWeights", [](auto& a, auto& y) { return run(addWeights, a, y); }},
  };
  auto maker = makers.find(request.operation);
  if (maker == makers.end()) {
    std::string names;
    for (const auto& [name, make] : makers) names += (names.empty() ? "" : ", ") + name;
    throw Error("INVALID_ARGUMENT",
                "record: there is no operation '" + request.operation + "'; there are " + names + ".");
  }
  Arguments arguments(request, recorder);
  OperationDescription description = maker->second(arguments, output);
  arguments.refuseUnread();
  return {request.operation, request.label, std::move(description)};
}

std::vector<const Tensor*> tensorsOf(const Operation& operation) {
  std::vector<const Tensor*> found;
  auto add = [&](const auto&... tensors) {
    auto one = [&](const auto& tensor) {
      if constexpr (requires { tensor.value(); }) {
        if (tensor) found.push_back(&*tensor);
      } else {
        found.push_back(&tensor);
      }
    };
    (one(tensors), ...);
  };
  std::visit([&](const auto& description) { description.tensors(add); }, operation.description);
  return found;
}

}  // namespace onehead
