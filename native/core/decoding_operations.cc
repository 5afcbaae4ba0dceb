#include "decoding_operations.h"

namespace onehead {

/** `rows` [entries], where it was given. */
static std::optional<Tensor> rowsOf(const Arguments& arguments, int64_t entries) {
  return arguments.maybe("rows", {entries}, DType::int32);
}

Embed embed(const Arguments& arguments) {
  const Tensor& tokens = arguments.typed(arguments.tensor("tokens", 2), "tokens", DType::int32);
  const bool bytes = arguments.has("tokenScales");
  const Tensor& table = bytes ? arguments.typed(arguments.tensor("tokenEmbedding", 2), "tokenEmbedding", DType::int8)
                              : arguments.floating(arguments.tensor("tokenEmbedding", 2), "tokenEmbedding");
  const Tensor& positions =
      arguments.typed(arguments.tensor("positionEmbedding", 2), "positionEmbedding", DType::float32);
  int64_t pool = tokens.shape[0], width = table.shape[1];
  int64_t batch = arguments.has("rows") ? arguments.tensor("rows", 1).shape[0] : pool;
  if (positions.shape[1] != width)
    arguments.refuse("INVALID_SHAPE", "positionEmbedding", "[positions, " + std::to_string(width) + "]",
                     toString(positions.shape));
  int64_t count = arguments.integer("count", 1, std::min(tokens.shape[1], positions.shape[0]), 1);
  return {.tokens = tokens,
          .start = arguments.shaped("start", {pool}, DType::int32),
          .tokenEmbedding = table,
          .positionEmbedding = positions,
          .count = count,
          .scale = float(arguments.number("scale", 1)),
          .y = arguments.output(DType::float32, {batch, count, width}),
          .rows = rowsOf(arguments, batch),
          .tokenScales = arguments.maybe("tokenScales", {table.shape[0]}, DType::float32)};
}

GatherRows gatherRows(const Arguments& arguments) {
  const Tensor& x = arguments.typed(arguments.tensor("x", 3), "x", DType::float32);
  const Tensor& index = arguments.tensor("index", 2);
  int64_t count = index.shape[0], batch = x.shape[0];
  return {x, arguments.shaped("index", {count, batch}, DType::int32),
          arguments.output(DType::float32, {count, batch, x.shape[2]})};
}

ScatterRows scatterRows(const Arguments& arguments) {
  const Tensor& x = arguments.tensor("x", 3, true);
  const Tensor& to = arguments.tensor("to");
  const bool single = to.shape.size() == 3 && to.shape[0] == 1;
  if ((to.shape.size() != 2 && !single) || to.elements() <= 0 || to.columns() != x.columns())
    arguments.refuse("INVALID_SHAPE", "to",
                     "[positions, " + std::to_string(x.columns()) + "], or that behind a dimension of 1",
                     toString(to.shape));
  if (!to.contiguous()) arguments.refuse("INVALID_ARGUMENT", "to", "a whole tensor", "a view of some of its columns");
  std::optional<Tensor> scales;
  if (arguments.has("scales")) {
    arguments.floating(x, "x");
    const Tensor& given = arguments.typed(arguments.tensor("scales"), "scales", DType::float32);
    const bool whole = !given.shape.empty() && given.contiguous() && given.columns() > 0;
    if (!whole || given.rows() != to.rows() || to.columns() % given.columns())
      arguments.refuse("INVALID_SHAPE", "scales",
                       "[positions, heads] for the " + std::to_string(to.rows()) +
                           " positions, the heads a divisor of " + std::to_string(to.columns()),
                       toString(given.shape));
    scales = given;
  }
  if (!scales && isFloating(x.dtype)) arguments.floating(to, "to");
  const bool converts = scales || isFloating(x.dtype);
  return {.x = x,
          .begin = arguments.shaped("begin", {x.shape[0]}, DType::int32),
          .y = converts ? (scales ? arguments.typed(to, "to", DType::int8) : to) : arguments.typed(to, "to", x.dtype),
          .scales = scales};
}

TokenProbability tokenProbability(const Arguments& arguments) {
  const Tensor& logits = arguments.typed(arguments.tensor("logits", 2), "logits", DType::float32);
  return {logits, arguments.integer("token", 0, logits.shape[1] - 1),
          arguments.output(DType::float32, {logits.shape[0]})};
}

NextToken nextToken(const Arguments& arguments) {
  constexpr int64_t mostTop = 64;
  const Tensor& logits = arguments.typed(arguments.tensor("logits", 2), "logits", DType::float32);
  const Tensor& tokens = arguments.typed(arguments.tensor("tokens", 2), "tokens", DType::int32);
  int64_t batch = logits.shape[0], vocabulary = logits.shape[1];
  int64_t pool = arguments.has("rows") ? tokens.shape[0] : batch;
  arguments.shaped("tokens", {pool, tokens.shape[1]});
  auto state = [&](const char* name) { return arguments.shaped(name, {pool}, DType::int32); };
  auto maybe = [&](const char* name, DType dtype) { return arguments.maybe(name, {pool}, dtype); };
  auto together = [&](const char* one, const char* other) {
    if (arguments.has(one) != arguments.has(other))
      arguments.refuse("INVALID_ARGUMENT", other, std::string("given together with ") + one, "one of them alone");
    return arguments.has(one);
  };
  together("temperature", "seed");
  std::optional<Tensor> topTokens, topLogProbability;
  if (together("topTokens", "topLogProbability")) {
    topTokens = arguments.typed(arguments.tensor("topTokens", 3), "topTokens", DType::int32);
    int64_t top = topTokens->shape[2];
    if (top > mostTop) arguments.refuse("NOT_SUPPORTED", "topTokens", "64 tokens at most", std::to_string(top));
    arguments.shaped("topTokens", {pool, tokens.shape[1], top});
    topLogProbability = arguments.shaped("topLogProbability", topTokens->shape, DType::float32);
  } else if (arguments.has("topCount")) {
    arguments.refuse("INVALID_ARGUMENT", "topCount", "given together with topTokens", "topCount alone");
  }
  const int64_t timestampBegin = arguments.integer("timestampBegin", 0, vocabulary, double(vocabulary));
  const bool shared = arguments.tensor("suppressed").shape.size() == 1;
  return {
      .logits = logits,
      .suppressed = arguments.shaped("suppressed", shared ? Shape{vocabulary} : Shape{pool, vocabulary}, DType::uint8),
      .tokens = tokens,
      .logProbability = arguments.shaped("logProbability", tokens.shape, DType::float32),
      .length = state("length"),
      .position = state("position"),
      .begin = state("begin"),
      .minimum = state("minimum"),
      .maximum = state("maximum"),
      .timestamps = state("timestamps"),
      .finished = state("finished"),
      .endToken = arguments.integer("endToken", 0, vocabulary - 1),
      .timestampBegin = timestampBegin,
      .timestampEnd = arguments.integer("timestampEnd", timestampBegin, vocabulary, double(vocabulary)),
      .noTimestampsToken = arguments.integer("noTimestampsToken", -1, vocabulary - 1, -1),
      .maxInitialTimestamp = arguments.integer("maxInitialTimestamp", -1, vocabulary, -1),
      .temperature = maybe("temperature", DType::float32),
      .seed = maybe("seed", DType::int32),
      .repetitionPenalty = maybe("repetitionPenalty", DType::float32),
      .noRepeat = maybe("noRepeat", DType::int32),
      .topTokens = topTokens,
      .topLogProbability = topLogProbability,
      .topCount = maybe("topCount", DType::int32),
      .rows = rowsOf(arguments, batch),
      .beams = arguments.maybe("beams", {batch}, DType::int32)};
}

NextBeams nextBeams(const Arguments& arguments) {
  constexpr int64_t mostBeams = 16;
  NextToken step = nextToken(arguments);
  if (step.temperature)
    arguments.refuse("NOT_SUPPORTED", "temperature", "absent: beams are not drawn at random", "a tensor");
  if (step.rows && !step.beams) arguments.refuse("INVALID_ARGUMENT", "beams", "given together with rows", "nothing");
  int64_t pool = step.tokens.shape[0], capacity = step.tokens.shape[1];
  int64_t windows = step.beams ? pool : arguments.tensor("wanted", 1).shape[0];
  if (pool % windows || pool / windows > mostBeams)
    arguments.refuse("INVALID_SHAPE", "wanted",
                     "[windows], of at most 16 of the " + std::to_string(pool) + " sequences each",
                     toString(arguments.tensor("wanted").shape));
  int64_t most = arguments.tensor("doneScore", 2).shape[1];
  Shape kept{windows, most, capacity};
  return {.step = step,
          .cumulative = arguments.shaped("cumulative", {pool}, DType::float32),
          .source = arguments.shaped("source", step.tokens.shape, DType::int32),
          .wanted = arguments.shaped("wanted", {windows}, DType::int32),
          .doneCount = arguments.shaped("doneCount", {windows}, DType::int32),
          .doneLength = arguments.shaped("doneLength", {windows, most}, DType::int32),
          .doneScore = arguments.shaped("doneScore", {windows, most}, DType::float32),
          .doneTokens = arguments.shaped("doneTokens", kept, DType::int32),
          .doneLogProbability = arguments.shaped("doneLogProbability", kept, DType::float32),
          .doneSource = arguments.shaped("doneSource", kept, DType::int32)};
}

AlignPositions alignPositions(const Arguments& arguments) {
  constexpr int64_t mostWidth = 31;
  const Tensor& scores = arguments.typed(arguments.tensor("scores", 4), "scores", DType::float32);
  const Tensor& source = arguments.typed(arguments.tensor("source", 2), "source", DType::int32);
  int64_t sequences = source.shape[0], positions = scores.shape[1];
  arguments.shaped("source", {sequences, positions});
  int64_t width = arguments.integer("medianWidth", 1, mostWidth, 7);
  if (width % 2 == 0)
    arguments.refuse("INVALID_ARGUMENT", "medianWidth", "an odd number of at most 31", std::to_string(width));
  auto state = [&](const char* name) { return arguments.shaped(name, {sequences}, DType::int32); };
  return {scores,
          source,
          state("begin"),
          state("end"),
          state("frames"),
          width,
          arguments.output(DType::int32, source.shape)};
}

AddWeights addWeights(const Arguments& arguments) {
  const Tensor& scores = arguments.typed(arguments.tensor("scores", 4), "scores", DType::float32);
  const Tensor& y = arguments.typed(arguments.tensor("sum", 3), "sum", DType::float32);
  const Tensor& to = arguments.typed(arguments.tensor("to", 1), "to", DType::int32);
  arguments.shaped("scores", {scores.shape[0], 1, scores.shape[2], y.shape[2]});
  const int64_t entries = arguments.has("rows") ? arguments.tensor("rows", 1).shape[0] : to.shape[0];
  auto state = [&](const char* name) { return arguments.shaped(name, to.shape, DType::int32); };
  return {.scores = scores,
          .from = state("from"),
          .to = to,
          .position = state("position"),
          .keys = state("keys"),
          .rows = rowsOf(arguments, entries),
          .factor = float(arguments.number("factor", 1)),
          .fresh = arguments.integer("fresh", 0, 1, 0) != 0,
          .y = y};
}

}  // namespace onehead
