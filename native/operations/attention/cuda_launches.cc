#include <algorithm>

#include "cuda/preparation.h"

namespace onehead::cuda {

namespace {

const char* nameOf(AttentionStage stage) {
  switch (stage) {
    case AttentionStage::all:
      return "";
    case AttentionStage::append:
      return "append";
    case AttentionStage::reshape:
      return "split";
    case AttentionStage::scores:
      return "scores";
    case AttentionStage::softmax:
      return "softmax";
    case AttentionStage::values:
      return "values";
  }
  return "";
}

/** The kernels' arguments, except for scratch memory and counters. */
AttentionArguments attentionOf(const Preparation& p, const Attention& o) {
  AttentionArguments arguments = argumentsOf(p, o);
  arguments.keysUnchanged = !o.newKey && !o.start && !o.source && !p.changes(o.key) && !p.changes(o.value) &&
                            !p.changes(o.keyScales) && !p.changes(o.valueScales) && !p.changes(o.rows) &&
                            !p.changes(o.keyBegin) && !p.changes(o.keyCount);
  arguments.pastUnchanged = !p.changesBefore(o.key) && !p.changesBefore(o.value) && !p.changesBefore(o.keyScales) &&
                            !p.changesBefore(o.valueScales) && !p.changesBefore(o.start) &&
                            !p.changesBefore(o.source) && !p.changesBefore(o.rows) && !p.changesBefore(o.keyBegin) &&
                            !p.changesBefore(o.keyCount);
  return arguments;
}

/** What an attention of a decode step reads from memory, about: a cache that grows is half full. */
Reads readsOf(const AttentionArguments& a) {
  const int64_t keys = a.keyBegin ? std::min<int64_t>(a.keyLimit, expectedRange) : a.newKey.data ? a.keys / 4 : a.keys;
  const int64_t elementBytes = a.keyScales ? 1 : int64_t(bytesOf(a.type));
  return {.bytes = 2 * a.batch * keys * a.keyValueHeads * a.headSize * elementBytes, .prefetches = true};
}

}  // namespace

void prepare(Preparation& p, const Attention& o) {
  AttentionArguments arguments = attentionOf(p, o);
  const Needs needs = attentionNeeds(arguments, p.launcher());
  for (AttentionStage stage : attentionStages(arguments)) {
    arguments.stage = stage;
    p.kernel(arguments, attention, needs, nameOf(stage));
    if (arguments.algorithm == AttentionAlgorithm::splitKeyValue) p.reads(readsOf(arguments));
  }
}

}  // namespace onehead::cuda
