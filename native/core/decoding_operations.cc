#include "decoding_operations.h"

namespace onehead {

GatherRows gatherRows(const Arguments& arguments) {
  const Tensor& x = arguments.typed(arguments.tensor("x", 3), "x", DType::float32);
  const Tensor& index = arguments.tensor("index", 2);
  int64_t count = index.shape[0], batch = x.shape[0];
  return {x, arguments.shaped("index", {count, batch}, DType::int32),
          arguments.output(DType::float32, {count, batch, x.shape[2]})};
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
  arguments.shaped("tokens", {batch, tokens.shape[1]});
  auto state = [&](const char* name) { return arguments.shaped(name, {batch}, DType::int32); };
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
    arguments.shaped("topTokens", {batch, tokens.shape[1], top});
    topLogProbability = arguments.shaped("topLogProbability", topTokens->shape, DType::float32);
  }
  return {logits,
          arguments.shaped("suppressed", {vocabulary}, DType::uint8),
          tokens,
          arguments.shaped("logProbability", tokens.shape, DType::float32),
          state("length"),
          state("position"),
          state("begin"),
          state("minimum"),
          state("maximum"),
          state("timestamps"),
          state("finished"),
          arguments.integer("endToken", 0, vocabulary - 1),
          arguments.integer("timestampBegin", 0, vocabulary, double(vocabulary)),
          arguments.integer("noTimestampsToken", -1, vocabulary - 1, -1),
          arguments.integer("maxInitialTimestamp", -1, vocabulary, -1),
          arguments.maybe("temperature", {batch}, DType::float32),
          arguments.maybe("seed", {batch}, DType::int32),
          arguments.maybe("repetitionPenalty", {batch}, DType::float32),
          arguments.maybe("noRepeat", {batch}, DType::int32),
          topTokens,
          topLogProbability};
}

NextBeams nextBeams(const Arguments& arguments) {
  constexpr int64_t mostBeams = 16;
  NextToken step = nextToken(arguments);
  if (step.temperature)
    arguments.refuse("NOT_SUPPORTED", "temperature", "absent: beams are not drawn at random", "a tensor");
  int64_t batch = step.tokens.shape[0], capacity = step.tokens.shape[1];
  int64_t windows = arguments.tensor("wanted", 1).shape[0], beams = batch / windows;
  if (batch % windows || beams > mostBeams)
    arguments.refuse("INVALID_SHAPE", "wanted",
                     "[windows], of at most 16 of the " + std::to_string(batch) + " sequences each",
                     toString(arguments.tensor("wanted").shape));
  int64_t most = arguments.tensor("doneScore", 2).shape[1];
  Shape kept{windows, most, capacity};
  return {step,
          arguments.shaped("cumulative", {batch}, DType::float32),
          arguments.shaped("source", step.tokens.shape, DType::int32),
          arguments.shaped("wanted", {windows}, DType::int32),
          arguments.shaped("doneCount", {windows}, DType::int32),
          arguments.shaped("doneLength", {windows, most}, DType::int32),
          arguments.shaped("doneScore", {windows, most}, DType::float32),
          arguments.shaped("doneTokens", kept, DType::int32),
          arguments.shaped("doneLogProbability", kept, DType::float32),
          arguments.shaped("doneSource", kept, DType::int32)};
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

}  // namespace onehead
