#include "operation.h"

#include "core/addresses.h"
#include "core/arguments.h"

namespace onehead {

Reasons TransposeCast::notSupported(const Capabilities& device) const {
  Reasons reasons;
  device.checkTypes({y.dtype}, reasons);
  return reasons;
}

Reasons Embed::notSupported(const Capabilities& device) const {
  Reasons reasons;
  if (!tokenScales)
    device.checkTypes({tokenEmbedding.dtype}, reasons);
  else
    device.checkWeight(tokenEmbedding, tokenScales, reasons);
  return reasons;
}

Reasons ScatterRows::notSupported(const Capabilities& device) const {
  Reasons reasons;
  if (scales)
    device.checkTypes({x.dtype}, reasons);
  else if (x.dtype != y.dtype)
    device.checkTypes({x.dtype, y.dtype}, reasons);
  return reasons;
}

Copy copy(const Arguments& arguments) {
  const Tensor& x = arguments.tensor("x");
  if (x.shape.empty() || x.elements() <= 0)
    arguments.refuse("INVALID_SHAPE", "x", "one element or more", toString(x.shape));
  if (!x.contiguous()) arguments.refuse("INVALID_ARGUMENT", "x", "contiguous", "a view of some columns");
  return {.x = x, .y = arguments.output(x.dtype, x.shape, "x")};
}

TransposeCast transposeCast(const Arguments& arguments) {
  const Tensor& x = arguments.typed(arguments.tensor("x", 3), "x", DType::float32);
  return {.x = x, .y = arguments.output(arguments.dtype(DType::float32), {x.shape[0], x.shape[2], x.shape[1]})};
}

Embed embed(const Arguments& arguments) {
  const Tensor& tokens = arguments.typed(arguments.tensor("tokens", 2), "tokens", DType::int32);
  const bool bytes = arguments.has("tokenEmbedding.scales");
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
          .rows = arguments.maybe("rows", {batch}, DType::int32),
          .tokenScales = arguments.maybe("tokenEmbedding.scales", {table.shape[0]}, DType::float32)};
}

GatherRows gatherRows(const Arguments& arguments) {
  const Tensor& x = arguments.typed(arguments.tensor("x", 3), "x", DType::float32);
  const Tensor& index = arguments.tensor("index", 2);
  int64_t count = index.shape[0], batch = x.shape[0];
  return {.x = x,
          .index = arguments.shaped("index", {count, batch}, DType::int32),
          .y = arguments.output(DType::float32, {count, batch, x.shape[2]})};
}

ScatterRows scatterRows(const Arguments& arguments) {
  const Tensor& x = arguments.tensor("x", 3, true);
  const Tensor& to = arguments.tensor("to");
  const bool single = to.shape.size() == 3 && to.shape[0] == 1;
  if ((to.shape.size() != 2 && !single) || to.elements() <= 0 || to.columns() != x.columns())
    arguments.refuse(
        "INVALID_SHAPE", "to",
        "[positions, " + std::to_string(x.columns()) + "] or [1, positions, " + std::to_string(x.columns()) + "]",
        toString(to.shape));
  if (!to.contiguous()) arguments.refuse("INVALID_ARGUMENT", "to", "contiguous", "a view of some columns");
  std::optional<Tensor> scales;
  if (arguments.has("scales")) {
    arguments.floating(x, "x");
    const Tensor& given = arguments.typed(arguments.tensor("scales"), "scales", DType::float32);
    const bool validRows = !given.shape.empty() && given.contiguous() && given.columns() > 0;
    if (!validRows || given.rows() != to.rows() || to.columns() % given.columns())
      arguments.refuse("INVALID_SHAPE", "scales",
                       "[positions, heads] for " + std::to_string(to.rows()) +
                           " positions, with a number of heads that divides " + std::to_string(to.columns()),
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

TransposeCastArguments argumentsOf(const Addresses& p, const TransposeCast& o) {
  return {.batch = o.x.shape[0],
          .rows = o.x.shape[1],
          .columns = o.x.shape[2],
          .x = p.at<float>(o.x),
          .y = p.at(o.y),
          .yType = o.y.dtype};
}

EmbedArguments argumentsOf(const Addresses& p, const Embed& o) {
  return {.batch = o.y.shape[0],
          .count = o.count,
          .width = o.y.shape[2],
          .vocabulary = o.tokenEmbedding.shape[0],
          .positions = o.positionEmbedding.shape[0],
          .tokens = p.at<int32_t>(o.tokens),
          .tokenStride = o.tokens.shape[1],
          .start = p.at<int32_t>(o.start),
          .tokenEmbedding = p.weight(o.tokenEmbedding),
          .tokenType = o.tokenEmbedding.dtype,
          .positionEmbedding = p.at<float>(o.positionEmbedding),
          .scale = o.scale,
          .y = p.at<float>(o.y),
          .rows = p.at<int32_t>(o.rows),
          .pool = o.tokens.shape[0],
          .tokenScales = p.at<float>(o.tokenScales)};
}

GatherRowsArguments argumentsOf(const Addresses& p, const GatherRows& o) {
  return {.count = o.index.shape[0],
          .batch = o.x.shape[0],
          .length = o.x.shape[1],
          .width = o.x.shape[2],
          .x = p.at<float>(o.x),
          .index = p.at<int32_t>(o.index),
          .y = p.at<float>(o.y)};
}

}  // namespace onehead
