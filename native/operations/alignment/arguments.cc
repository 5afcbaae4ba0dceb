#include "arguments.h"

#include "core/addresses.h"
#include "operation.h"

namespace onehead {

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
