#include "operation.h"

#include "core/addresses.h"
#include "core/arguments.h"

namespace onehead {

Reasons AlignPositions::notSupported(const Capabilities& device) const {
  Reasons reasons;
  const int64_t positions = scores.shape[1];
  device.checkSharedMemory(alignPositionsSharedBytes(positions), std::to_string(positions) + " positions need",
                           reasons);
  return reasons;
}

Reasons AddWeights::notSupported(const Capabilities& device) const {
  Reasons reasons;
  const int64_t heads = scores.shape[2];
  device.checkSharedMemory(addWeightsSharedBytes(heads), std::to_string(heads) + " heads need", reasons);
  return reasons;
}

AlignPositions alignPositions(const Arguments& arguments) {
  constexpr int64_t maxWidth = 31;
  const Tensor& scores = arguments.typed(arguments.tensor("scores", 4), "scores", DType::float32);
  const Tensor& source = arguments.typed(arguments.tensor("source", 2), "source", DType::int32);
  int64_t sequences = source.shape[0], positions = scores.shape[1];
  arguments.shaped("source", {sequences, positions});
  arguments.requireCountable("weights", {sequences, positions, scores.shape[3]});
  int64_t width = arguments.integer("medianWidth", 1, maxWidth, 7);
  if (width % 2 == 0)
    arguments.refuse("INVALID_ARGUMENT", "medianWidth", "an odd number up to 31", std::to_string(width));
  auto state = [&](const char* name) { return arguments.shaped(name, {sequences}, DType::int32); };
  return {.scores = scores,
          .source = source,
          .begin = state("begin"),
          .end = state("end"),
          .frames = state("frames"),
          .medianWidth = width,
          .y = arguments.output(DType::int32, source.shape)};
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
          .rows = arguments.maybe("rows", {entries}, DType::int32),
          .factor = float(arguments.number("factor", 1)),
          .fresh = arguments.integer("fresh", 0, 1, 0) != 0,
          .y = y};
}

AlignPositionsArguments argumentsOf(const Addresses& p, const AlignPositions& o) {
  return {.sequences = o.source.shape[0],
          .rows = o.scores.shape[0],
          .positions = o.scores.shape[1],
          .heads = o.scores.shape[2],
          .keys = o.scores.shape[3],
          .scores = p.at<float>(o.scores),
          .source = p.at<int32_t>(o.source),
          .begin = p.at<int32_t>(o.begin),
          .end = p.at<int32_t>(o.end),
          .frames = p.at<int32_t>(o.frames),
          .medianWidth = o.medianWidth,
          .y = p.at<int32_t>(o.y),
          .scratch = nullptr};
}

AddWeightsArguments argumentsOf(const Addresses& p, const AddWeights& o) {
  return {.batch = o.rows ? o.rows->shape[0] : o.to.shape[0],
          .pool = o.to.shape[0],
          .sources = o.scores.shape[0],
          .sequences = o.y.shape[0],
          .positions = o.y.shape[1],
          .heads = o.scores.shape[2],
          .keys = o.y.shape[2],
          .scores = p.at<float>(o.scores),
          .rows = p.at<int32_t>(o.rows),
          .from = p.at<int32_t>(o.from),
          .to = p.at<int32_t>(o.to),
          .position = p.at<int32_t>(o.position),
          .counted = p.at<int32_t>(o.keys),
          .factor = o.factor,
          .fresh = o.fresh,
          .y = p.at<float>(o.y)};
}

}  // namespace onehead
