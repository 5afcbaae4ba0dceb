#include "operation.h"

#include "core/addresses.h"
#include "core/arguments.h"

namespace onehead {

TokenProbability tokenProbability(const Arguments& arguments) {
  const Tensor& logits = arguments.typed(arguments.tensor("logits", 2), "logits", DType::float32);
  return {.logits = logits,
          .token = arguments.integer("token", 0, logits.shape[1] - 1),
          .y = arguments.output(DType::float32, {logits.shape[0]})};
}

NextToken nextToken(const Arguments& arguments) {
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
    if (top > maxTop)
      arguments.refuse("NOT_SUPPORTED", "topTokens", "at most " + std::to_string(maxTop) + " tokens per step",
                       std::to_string(top));
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
      .rows = arguments.maybe("rows", {batch}, DType::int32),
      .beams = arguments.maybe("beams", {batch}, DType::int32)};
}

NextBeams nextBeams(const Arguments& arguments) {
  NextToken step = nextToken(arguments);
  if (step.temperature)
    arguments.refuse("NOT_SUPPORTED", "temperature", "absent, since beam search does not sample,", "a tensor");
  if (step.rows && !step.beams) arguments.refuse("INVALID_ARGUMENT", "beams", "given together with rows", "nothing");
  int64_t pool = step.tokens.shape[0], capacity = step.tokens.shape[1];
  int64_t windows = step.beams ? pool : arguments.tensor("wanted", 1).shape[0];
  if (pool % windows || pool / windows > maxBeams)
    arguments.refuse(
        "INVALID_SHAPE", "wanted",
        "[windows], with at most " + std::to_string(maxBeams) + " of the " + std::to_string(pool) + " sequences each",
        toString(arguments.tensor("wanted").shape));
  arguments.requireCountable("copies of tokens", {step.logits.shape[0], capacity});
  int64_t doneCapacity = arguments.tensor("doneScore", 2).shape[1];
  Shape historyShape{windows, doneCapacity, capacity};
  return {.step = step,
          .cumulative = arguments.shaped("cumulative", {pool}, DType::float32),
          .source = arguments.shaped("source", step.tokens.shape, DType::int32),
          .wanted = arguments.shaped("wanted", {windows}, DType::int32),
          .doneCount = arguments.shaped("doneCount", {windows}, DType::int32),
          .doneLength = arguments.shaped("doneLength", {windows, doneCapacity}, DType::int32),
          .doneScore = arguments.shaped("doneScore", {windows, doneCapacity}, DType::float32),
          .doneTokens = arguments.shaped("doneTokens", historyShape, DType::int32),
          .doneLogProbability = arguments.shaped("doneLogProbability", historyShape, DType::float32),
          .doneSource = arguments.shaped("doneSource", historyShape, DType::int32)};
}

TokenProbabilityArguments argumentsOf(const Addresses& p, const TokenProbability& o) {
  return {.batch = o.logits.shape[0],
          .vocabulary = o.logits.shape[1],
          .logits = p.at<float>(o.logits),
          .token = int32_t(o.token),
          .probability = p.at<float>(o.y)};
}

NextTokenArguments argumentsOf(const Addresses& p, const NextToken& o) {
  return {.batch = o.logits.shape[0],
          .vocabulary = o.logits.shape[1],
          .capacity = o.tokens.shape[1],
          .logits = p.at<float>(o.logits),
          .suppressed = p.at<uint8_t>(o.suppressed),
          .endToken = int32_t(o.endToken),
          .timestampBegin = int32_t(o.timestampBegin),
          .timestampEnd = int32_t(o.timestampEnd),
          .noTimestampsToken = int32_t(o.noTimestampsToken),
          .maxInitialTimestamp = int32_t(o.maxInitialTimestamp),
          .tokens = p.at<int32_t>(o.tokens),
          .logProbability = p.at<float>(o.logProbability),
          .length = p.at<int32_t>(o.length),
          .position = p.at<int32_t>(o.position),
          .begin = p.at<int32_t>(o.begin),
          .minimum = p.at<int32_t>(o.minimum),
          .maximum = p.at<int32_t>(o.maximum),
          .timestamps = p.at<int32_t>(o.timestamps),
          .finished = p.at<int32_t>(o.finished),
          .scratch = nullptr,
          .counters = nullptr,
          .temperature = p.at<float>(o.temperature),
          .seed = p.at<int32_t>(o.seed),
          .repetitionPenalty = p.at<float>(o.repetitionPenalty),
          .noRepeat = p.at<int32_t>(o.noRepeat),
          .topTokens = p.at<int32_t>(o.topTokens),
          .topLogProbability = p.at<float>(o.topLogProbability),
          .top = o.topTokens ? o.topTokens->shape[2] : 0,
          .topCount = p.at<int32_t>(o.topCount),
          .rows = p.at<int32_t>(o.rows),
          .pool = o.tokens.shape[0],
          .beams = p.at<int32_t>(o.beams),
          .suppressedStride = o.suppressed.shape.size() == 2 ? o.suppressed.shape[1] : 0};
}

NextBeamsArguments argumentsOf(const Addresses& p, const NextBeams& o) {
  return {.step = argumentsOf(p, o.step),
          .beams = o.step.tokens.shape[0] / o.wanted.shape[0],
          .doneCapacity = o.doneScore.shape[1],
          .cumulative = p.at<float>(o.cumulative),
          .source = p.at<int32_t>(o.source),
          .wanted = p.at<int32_t>(o.wanted),
          .doneCount = p.at<int32_t>(o.doneCount),
          .doneLength = p.at<int32_t>(o.doneLength),
          .doneScore = p.at<float>(o.doneScore),
          .doneTokens = p.at<int32_t>(o.doneTokens),
          .doneLogProbability = p.at<float>(o.doneLogProbability),
          .doneSource = p.at<int32_t>(o.doneSource),
          .scratch = nullptr,
          .counters = nullptr};
}

}  // namespace onehead
