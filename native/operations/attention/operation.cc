#include "operation.h"

#include <bit>

#include "core/addresses.h"
#include "core/arguments.h"

namespace onehead {

namespace {

/** The alignment of a tensor's rows: the largest power of two, in bytes, up to 64. */
int64_t alignmentOf(const Tensor& t) {
  const int64_t element = int64_t(bytesOf(t.dtype));
  const auto places = uint64_t(t.offset * element) | uint64_t(t.rowStride * element) | 64;
  return int64_t(1) << std::countr_zero(places);
}

/** The properties of the requested case that decide whether it is supported. */
AttentionCase caseOf(const Arguments& arguments, const AttentionDeclaration* wanted) {
  const Tensor& query = arguments.floating(arguments.tensor("query", 3, true), "query");
  const Tensor& key = arguments.tensor("key", 3, true);
  const size_t length = wanted && wanted->lengthFirst ? 0 : 1;
  AttentionCase given;
  given.type = query.dtype;
  given.heads = arguments.integer("heads", 1, query.shape[2]);
  given.keyValueHeads = arguments.integer("keyValueHeads", 1, given.heads, double(given.heads));
  if (query.shape[2] % given.heads)
    arguments.refuse("INVALID_SHAPE", "query", "[batch, length, heads * head size]", toString(query.shape));
  given.headSize = query.shape[2] / given.heads;
  given.queries = query.shape[length];
  given.keys = key.shape[length];
  given.causal = arguments.integer("causal", 0, 1, 0) == 1;
  given.append = arguments.has("append.key");
  given.scores = arguments.has("scores.to");
  given.pooled = arguments.has("keys.begin") || arguments.has("rows") || arguments.has("scores.row");
  given.source = arguments.has("source");
  given.bytes = arguments.has("cacheScales.key");
  for (const char* name : {"query", "key", "value", "append.key", "append.value", "output"})
    if (arguments.has(name)) given.alignment = std::min(given.alignment, alignmentOf(arguments.tensor(name)));
  requireConsistent(given);
  return given;
}

/** The algorithm of that name; null for 'auto'. */
const AttentionDeclaration* wantedAlgorithm(const Arguments& arguments) {
  std::vector<std::pair<std::string, const AttentionDeclaration*>> choices{{"auto", nullptr}};
  for (const AttentionDeclaration& one : attentionDeclarations()) choices.emplace_back(one.name, &one);
  return arguments.choice("algorithm", choices, "auto");
}

/** Refuses more scores than can be kept: sizes of scratch memory, and the work that threads share, do not overflow. */
void requireCountable(const AttentionCase& given, int64_t batch, AttentionAlgorithm algorithm) {
  const bool streams = algorithm == AttentionAlgorithm::memoryEfficient;
  const double scores = double(batch) * double(given.heads) * double(given.queries) * double(given.keys);
  if (scores <= double(streams ? maxElements << 16 : maxElements)) return;
  throw Error("OUT_OF_MEMORY", "attention: scores of shape " +
                                   toString({batch, given.heads, given.queries, given.keys}) + " have more than 2^" +
                                   (streams ? "56" : "40") + " elements; use fewer queries or keys" +
                                   (streams ? "." : ", or the algorithm 'memory-efficient'."));
}

}  // namespace

Attention attention(const Arguments& arguments) {
  const AttentionDeclaration* wanted = wantedAlgorithm(arguments);
  const AttentionCase given = caseOf(arguments, wanted);
  const AttentionAlgorithm algorithm = chooseAlgorithm(wanted, given, arguments.recorder().capabilities());
  const bool lengthFirst = declarationOf(algorithm).lengthFirst;
  const Tensor& query = arguments.tensor("query", 3, true);
  const DType cached = given.bytes ? DType::int8 : query.dtype;
  const Tensor& key = arguments.typed(arguments.tensor("key", 3, true), "key", cached);
  const int64_t batch = query.shape[lengthFirst ? 1 : 0];
  requireCountable(given, batch, algorithm);
  const auto [queries, keys, size] = std::tuple(given.queries, given.keys, given.headSize);
  const bool ranges = arguments.has("keys.begin"), rows = arguments.has("rows");
  if (ranges != arguments.has("keys.count"))
    arguments.refuse("INVALID_ARGUMENT", "keys.count", "given together with keys.begin", "one of them alone");
  // `pool`: rows of the state. `held`: sequences of key and value, which is 1 for a pool of positions.
  int64_t pool = !rows ? batch : ranges ? arguments.tensor("keys.begin", 1).shape[0] : key.shape[0];
  int64_t held = ranges ? 1 : pool;
  auto shape = [&](int64_t length, int64_t sequences) {
    const int64_t width = given.keyValueHeads * given.headSize;
    return lengthFirst ? Shape{length, sequences, width} : Shape{sequences, length, width};
  };
  arguments.shaped("key", shape(keys, held), true);
  const Tensor& value = arguments.typed(arguments.shaped("value", shape(keys, held), true), "value", cached);
  if (arguments.has("cacheScales.key") != arguments.has("cacheScales.value"))
    arguments.refuse("INVALID_ARGUMENT", "cacheScales.value", "given together with cacheScales.key",
                     "one of them alone");
  if (given.bytes && !(key.contiguous() && value.contiguous()))
    arguments.refuse("INVALID_ARGUMENT", "key", "contiguous if it is int8", "a view of some columns");
  if (given.append != arguments.has("append.value"))
    arguments.refuse("INVALID_ARGUMENT", "append.value", "given together with append.key", "one of them alone");
  if (!ranges && arguments.has("keys.longest"))
    arguments.refuse("INVALID_ARGUMENT", "keys.longest", "given together with keys.begin", "keys.longest alone");
  if (ranges && (given.append || given.causal || arguments.has("start")))
    arguments.refuse("INVALID_ARGUMENT", "keys.begin", "given without append.key, causal and start", "one of these");
  if (given.append && !arguments.has("start"))
    arguments.refuse("INVALID_ARGUMENT", "start", "given together with append.key", "nothing");
  std::optional<Tensor> newKey, newValue;
  if (given.append) {
    newKey = arguments.typed(arguments.shaped("append.key", shape(queries, batch), true), "append.key", query.dtype);
    newValue =
        arguments.typed(arguments.shaped("append.value", shape(queries, batch), true), "append.value", query.dtype);
    if (newKey->rowStride != newValue->rowStride)
      arguments.refuse("INVALID_ARGUMENT", "append.value",
                       "a view with the row stride of append.key (" + std::to_string(newKey->rowStride) + ")",
                       std::to_string(newValue->rowStride));
  }
  auto start = arguments.maybe("start", {pool}, DType::int32);
  auto source = arguments.maybe("source", {pool, keys}, DType::int32);
  if (source && (!start || !given.causal))
    arguments.refuse("INVALID_ARGUMENT", "source", "given together with start and causal", "one of them missing");
  std::optional<Tensor> scores, scoreHeads, scorePosition, scoreRow;
  if (given.scores) {
    scores = arguments.typed(arguments.tensor("scores.to", 4), "scores.to", DType::float32);
    scoreRow = arguments.maybe("scores.row", {pool}, DType::int32);
    if ((!scoreRow && scores->shape[0] != batch * queries) || (!given.pooled && scores->shape[3] != keys))
      arguments.refuse("INVALID_SHAPE", "scores.to",
                       "[" + std::to_string(batch * queries) + ", positions, heads, " + std::to_string(keys) + "]",
                       toString(scores->shape));
    scoreHeads = arguments.shaped("scores.heads", {given.heads}, DType::int32);
    scorePosition = arguments.shaped("scores.position", {pool * queries}, DType::int32);
  } else {
    for (const char* name : {"scores.heads", "scores.position", "scores.row"})
      if (arguments.has(name)) arguments.refuse("INVALID_ARGUMENT", "scores.to", "a tensor", "nothing");
  }
  const double scale = arguments.number("scale", 1 / std::sqrt(double(size)));
  if (!std::isfinite(float(scale)))
    arguments.refuse("INVALID_ARGUMENT", "scale", "a finite float32 number", std::to_string(scale));
  const Shape scales{held, keys, given.keyValueHeads};
  return {
      .query = query,
      .key = key,
      .value = value,
      .newKey = newKey,
      .newValue = newValue,
      .start = start,
      .heads = given.heads,
      .keyValueHeads = given.keyValueHeads,
      .headSize = size,
      .keyLimit = arguments.integer("keys.longest", 1, std::max<int64_t>(keys, 1), double(std::max<int64_t>(keys, 1))),
      .causal = given.causal,
      .scale = float(scale),
      .algorithm = algorithm,
      .y = arguments.output(query.dtype, query.shape, "query"),
      .source = source,
      .scores = scores,
      .scoreHeads = scoreHeads,
      .scorePosition = scorePosition,
      .rows = arguments.maybe("rows", {batch}, DType::int32),
      .keyBegin = arguments.maybe("keys.begin", {pool}, DType::int32),
      .keyCount = arguments.maybe("keys.count", {pool}, DType::int32),
      .scoreRow = scoreRow,
      .keyScales = arguments.maybe("cacheScales.key", scales, DType::float32),
      .valueScales = arguments.maybe("cacheScales.value", scales, DType::float32)};
}

AttentionArguments argumentsOf(const Addresses& p, const Attention& o) {
  auto view = [&](const Tensor& tensor) {
    return AttentionView{p.at(tensor), o.batchStride(tensor), o.lengthStride(tensor)};
  };
  return {.batch = o.batch(),
          .queries = o.queries(),
          .keys = o.keys(),
          .heads = o.heads,
          .keyValueHeads = o.keyValueHeads,
          .headSize = o.headSize,
          .type = o.query.dtype,
          .q = view(o.query),
          .k = view(o.key),
          .v = view(o.value),
          .causal = o.causal,
          .start = p.at<int32_t>(o.start),
          .newKey = o.newKey ? view(*o.newKey) : AttentionView{},
          .newValue = o.newValue ? view(*o.newValue) : AttentionView{},
          .scale = o.scale,
          .y = view(o.y),
          .source = p.at<int32_t>(o.source),
          .scores = p.at<float>(o.scores),
          .scoreHeads = p.at<int32_t>(o.scoreHeads),
          .scorePosition = p.at<int32_t>(o.scorePosition),
          .scoreRows = o.scores ? o.scores->shape[1] : 0,
          .scoreWidth = o.scores ? o.scores->shape[2] : 0,
          .rows = p.at<int32_t>(o.rows),
          .pool = o.pool(),
          .keyBegin = p.at<int32_t>(o.keyBegin),
          .keyCount = p.at<int32_t>(o.keyCount),
          .keyLimit = std::min(o.keyLimit, o.keys()),
          .scoreRow = p.at<int32_t>(o.scoreRow),
          .scoreSequences = o.scores ? o.scores->shape[0] : 0,
          .scoreKeys = o.scores ? o.scores->shape[3] : 0,
          .keyScales = p.at<float>(o.keyScales),
          .valueScales = p.at<float>(o.valueScales),
          .algorithm = o.algorithm};
}

}  // namespace onehead
