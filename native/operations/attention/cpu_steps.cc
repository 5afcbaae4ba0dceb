#include "batched_attention.h"
#include "core/error.h"
#include "cpu/preparation.h"

namespace onehead::cpu {

namespace {

const Kernel<AttentionArguments>& kernelOf(const Kernels& kernels, AttentionAlgorithm algorithm) {
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
  throw Error("NOT_SUPPORTED", "attention: the CPU has no kernel for this algorithm.");
}

}  // namespace

void prepare(Preparation& p, const Attention& o) {
  if (isBatchedAttention(o)) {
    for (auto& step : batchedAttention(o, p.kernels, p.onednn().engine, p.onednn().stream, p)) p.add(std::move(step));
    return;
  }
  AttentionArguments arguments = argumentsOf(p, o);
  const Kernel<AttentionArguments>& kernel = kernelOf(p.kernels, o.algorithm);
  auto step = [&](AttentionStage stage, const char* part) {
    arguments.stage = stage;
    p.kernel(arguments, kernel, part);
  };
  if (o.algorithm != AttentionAlgorithm::multiHead) return step(AttentionStage::all, "");
  step(AttentionStage::scores, "scores");
  step(AttentionStage::softmax, "softmax");
  step(AttentionStage::values, "values");
}

}  // namespace onehead::cpu
