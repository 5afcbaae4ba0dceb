#include "batched_attention.h"
#include "core/error.h"
#include "cpu/preparation.h"

namespace onehead::cpu {

namespace {

const Kernel<Attention>& kernelOf(const Kernels& kernels, AttentionAlgorithm algorithm) {
  switch (algorithm) {
    case AttentionAlgorithm::multiHead:
      return kernels.attentionBaseline;
    case AttentionAlgorithm::memoryEfficient:
      return kernels.attentionStreaming;
    case AttentionAlgorithm::splitKeyValue:
      return kernels.attentionDecode;
    case AttentionAlgorithm::multiQuery:
    case AttentionAlgorithm::multiQueryReshaped:
      break;  // batched_attention.cc
  }
  throw Error("NOT_SUPPORTED", "attention: there is no kernel for an algorithm.");
}

AttentionView view(Preparation& p, const Tensor& tensor) {
  return {p.at(tensor), tensor.shape[1] * tensor.rowStride, tensor.rowStride};
}

}  // namespace

void prepare(Preparation& p, const onehead::Attention& o) {
  if (isBatchedAttention(o)) {
    for (auto& step : batchedAttention(o, p.kernels, p.engine, p.stream, p)) p.add(std::move(step));
    return;
  }
  Attention arguments{.batch = o.batch(),
                      .queries = o.queries(),
                      .keys = o.keys(),
                      .heads = o.heads,
                      .keyValueHeads = o.keyValueHeads,
                      .headSize = o.headSize,
                      .type = p.type(o.query),
                      .q = view(p, o.query),
                      .k = view(p, o.key),
                      .v = view(p, o.value),
                      .causal = o.causal,
                      .start = p.at<int32_t>(o.start),
                      .newKey = p.at<void>(o.newKey),
                      .newValue = p.at<void>(o.newValue),
                      .newBatchStride = o.newKey ? o.newKey->shape[1] * o.newKey->rowStride : 0,
                      .newRowStride = o.newKey ? o.newKey->rowStride : 0,
                      .scale = o.scale,
                      .y = p.at(o.y),
                      .scratch = nullptr,
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
                      .scoreRow = p.at<int32_t>(o.scoreRow),
                      .scoreSequences = o.scores ? o.scores->shape[0] : 0,
                      .scoreKeys = o.scores ? o.scores->shape[3] : 0,
                      .keyScales = p.at<float>(o.keyScales),
                      .valueScales = p.at<float>(o.valueScales),
                      .scaleStride = o.keyScales ? o.keyScales->shape[1] * o.keyScales->shape[2] : 0};
  const Kernel<Attention>& kernel = kernelOf(p.kernels, o.algorithm);
  auto step = [&](AttentionPass pass, const char* part) {
    arguments.pass = pass;
    p.kernel(arguments, kernel, part);
  };
  if (o.algorithm != AttentionAlgorithm::multiHead) return step(AttentionPass::all, "");
  step(AttentionPass::scores, "scores");
  step(AttentionPass::softmax, "softmax");
  step(AttentionPass::values, "values");
}

}  // namespace onehead::cpu
