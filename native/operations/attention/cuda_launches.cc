#include "cuda_launches.h"

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

AttentionView view(Preparation& p, const Attention& o, const Tensor& tensor, const char* which) {
  AttentionView made{p.at(tensor), o.batchStride(tensor), o.lengthStride(tensor)};
  const size_t element = bytesOf(tensor.dtype);
  if (reinterpret_cast<uintptr_t>(made.data) % 16 || size_t(made.batchStride) * element % 16 ||
      size_t(made.rowStride) * element % 16)
    p.unsupported(std::string("the CUDA device takes ") + which + " in rows that begin at multiples of 16 bytes.");
  return made;
}

}  // namespace

AttentionArguments attentionOf(Preparation& p, const Attention& o) {
  if (o.headSize > 128 || o.headSize % 16)
    p.unsupported("the CUDA device takes head sizes from 16 to 128 in steps of 16, not " + std::to_string(o.headSize) +
                  ".");
  AttentionArguments arguments{};
  arguments.batch = o.batch();
  arguments.queries = o.queries();
  arguments.keys = o.keys();
  arguments.heads = o.heads;
  arguments.keyValueHeads = o.keyValueHeads;
  arguments.headSize = o.headSize;
  arguments.type = o.query.dtype;
  arguments.q = view(p, o, o.query, "the query");
  arguments.k = view(p, o, o.key, "the key");
  arguments.v = view(p, o, o.value, "the value");
  arguments.causal = o.causal;
  arguments.start = p.at<int32_t>(o.start);
  if (o.newKey) {
    arguments.newKey = view(p, o, *o.newKey, "newKey");
    arguments.newValue = view(p, o, *o.newValue, "newValue");
  }
  arguments.scale = o.scale;
  arguments.y = view(p, o, o.y, "the output");
  arguments.source = p.at<int32_t>(o.source);
  if (o.scores) {
    arguments.scores = p.at<float>(*o.scores);
    arguments.scoreHeads = p.at<int32_t>(o.scoreHeads);
    arguments.scorePosition = p.at<int32_t>(o.scorePosition);
    arguments.scoreRows = o.scores->shape[1];
    arguments.scoreWidth = o.scores->shape[2];
    arguments.scoreSequences = o.scores->shape[0];
    arguments.scoreKeys = o.scores->shape[3];
    arguments.scoreRow = p.at<int32_t>(o.scoreRow);
  }
  arguments.rows = p.at<int32_t>(o.rows);
  arguments.pool = o.pool();
  arguments.keyBegin = p.at<int32_t>(o.keyBegin);
  arguments.keyCount = p.at<int32_t>(o.keyCount);
  arguments.keyScales = p.at<float>(o.keyScales);
  arguments.valueScales = p.at<float>(o.valueScales);
  arguments.keysStay = !o.newKey && !o.start && !o.source && !p.changes(o.key) && !p.changes(o.value) &&
                       !p.changes(o.keyScales) && !p.changes(o.valueScales) && !p.changes(o.rows) &&
                       !p.changes(o.keyBegin) && !p.changes(o.keyCount);
  return arguments;
}

void prepare(Preparation& p, const Attention& o) {
  const AttentionArguments arguments = attentionOf(p, o);
  const AttentionNeeds needs = attentionNeeds(arguments, o.algorithm, p.launcher());
  for (AttentionStage stage : attentionStages(arguments, o.algorithm))
    p.add(
        [arguments, algorithm = o.algorithm, stage](const Launcher& launcher, const Workspace& workspace) {
          AttentionArguments here = arguments;
          here.scratch = workspace.scratch();
          here.counters = workspace.counters();
          return attention(here, algorithm, stage, launcher);
        },
        needs.scratchBytes, needs.counters, nameOf(stage));
}

}  // namespace onehead::cuda
