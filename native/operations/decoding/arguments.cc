#include "arguments.h"

#include "core/addresses.h"
#include "operation.h"

namespace onehead {

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
          .most = o.doneScore.shape[1],
          .cumulative = p.at<float>(o.cumulative),
          .source = p.at<int32_t>(o.source),
          .wanted = p.at<int32_t>(o.wanted),
          .doneCount = p.at<int32_t>(o.doneCount),
          .doneLength = p.at<int32_t>(o.doneLength),
          .doneScore = p.at<float>(o.doneScore),
          .doneTokens = p.at<int32_t>(o.doneTokens),
          .doneLogProbability = p.at<float>(o.doneLogProbability),
          .doneSource = p.at<int32_t>(o.doneSource),
          .scratch = nullptr};
}

}  // namespace onehead
