#include "cuda/preparation.h"

namespace onehead::cuda {

void prepare(Preparation& p, const TokenProbability& o) {
  p.kernel({.batch = o.logits.shape[0],
            .vocabulary = o.logits.shape[1],
            .logits = p.at<float>(o.logits),
            .token = int32_t(o.token),
            .probability = p.at<float>(o.y)},
           tokenProbability);
}

namespace {

NextTokenArguments argumentsOf(Preparation& p, const NextToken& o) {
  NextTokenArguments a{};
  a.batch = o.logits.shape[0];
  a.vocabulary = o.logits.shape[1];
  a.capacity = o.tokens.shape[1];
  a.logits = p.at<float>(o.logits);
  a.suppressed = p.at<uint8_t>(o.suppressed);
  a.endToken = int32_t(o.endToken);
  a.timestampBegin = int32_t(o.timestampBegin);
  a.timestampEnd = int32_t(o.timestampEnd);
  a.noTimestampsToken = int32_t(o.noTimestampsToken);
  a.maxInitialTimestamp = int32_t(o.maxInitialTimestamp);
  a.tokens = p.at<int32_t>(o.tokens);
  a.logProbability = p.at<float>(o.logProbability);
  a.length = p.at<int32_t>(o.length);
  a.position = p.at<int32_t>(o.position);
  a.begin = p.at<int32_t>(o.begin);
  a.minimum = p.at<int32_t>(o.minimum);
  a.maximum = p.at<int32_t>(o.maximum);
  a.timestamps = p.at<int32_t>(o.timestamps);
  a.finished = p.at<int32_t>(o.finished);
  a.temperature = p.at<float>(o.temperature);
  a.seed = p.at<int32_t>(o.seed);
  a.repetitionPenalty = p.at<float>(o.repetitionPenalty);
  a.noRepeat = p.at<int32_t>(o.noRepeat);
  a.topTokens = p.at<int32_t>(o.topTokens);
  a.topLogProbability = p.at<float>(o.topLogProbability);
  a.top = o.topTokens ? o.topTokens->shape[2] : 0;
  a.topCount = p.at<int32_t>(o.topCount);
  a.rows = p.at<int32_t>(o.rows);
  a.pool = o.tokens.shape[0];
  a.beams = p.at<int32_t>(o.beams);
  a.suppressedStride = o.suppressed.shape.size() == 2 ? o.suppressed.shape[1] : 0;
  return a;
}

}  // namespace

void prepare(Preparation& p, const NextToken& o) {
  const NextTokenArguments made = argumentsOf(p, o);
  p.kernel(made, nextToken, nextTokenScratch(made), size_t(made.batch),
           [](NextTokenArguments& a, const Workspace& workspace) {
             a.scratch = workspace.scratch();
             a.counters = workspace.counters();
           });
}

void prepare(Preparation& p, const NextBeams& o) {
  NextBeamsArguments a{};
  a.step = argumentsOf(p, o.step);
  a.beams = o.step.tokens.shape[0] / o.wanted.shape[0];
  a.most = o.doneScore.shape[1];
  a.cumulative = p.at<float>(o.cumulative);
  a.source = p.at<int32_t>(o.source);
  a.wanted = p.at<int32_t>(o.wanted);
  a.doneCount = p.at<int32_t>(o.doneCount);
  a.doneLength = p.at<int32_t>(o.doneLength);
  a.doneScore = p.at<float>(o.doneScore);
  a.doneTokens = p.at<int32_t>(o.doneTokens);
  a.doneLogProbability = p.at<float>(o.doneLogProbability);
  a.doneSource = p.at<int32_t>(o.doneSource);
  p.kernel(a, nextBeams, nextBeamsScratch(a), size_t(a.step.batch),
           [](NextBeamsArguments& here, const Workspace& workspace) {
             here.step.scratch = workspace.scratch();
             here.step.counters = workspace.counters();
           });
}

}  // namespace onehead::cuda
