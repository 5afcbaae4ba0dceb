#include "arguments.h"

#include "core/addresses.h"
#include "operation.h"

namespace onehead {

TransposeCastArguments argumentsOf(const Addresses& p, const TransposeCast& o) {
  return {.batch = o.x.shape[0],
          .rows = o.x.shape[1],
          .columns = o.x.shape[2],
          .x = p.at<float>(o.x),
          .y = p.at(o.y),
          .yType = p.type(o.y)};
}

EmbedArguments argumentsOf(const Addresses& p, const Embed& o, const void* tokenEmbedding, DType tokenType) {
  return {.batch = o.y.shape[0],
          .count = o.count,
          .width = o.y.shape[2],
          .vocabulary = o.tokenEmbedding.shape[0],
          .positions = o.positionEmbedding.shape[0],
          .tokens = p.at<int32_t>(o.tokens),
          .tokenStride = o.tokens.shape[1],
          .start = p.at<int32_t>(o.start),
          .tokenEmbedding = tokenEmbedding,
          .tokenType = tokenType,
          .positionEmbedding = p.at<float>(o.positionEmbedding),
          .scale = o.scale,
          .y = p.at<float>(o.y),
          .rows = p.at<int32_t>(o.rows),
          .pool = o.tokens.shape[0],
          .tokenScales = p.at<float>(o.tokenScales)};
}

}  // namespace onehead
