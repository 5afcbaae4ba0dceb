#include "cuda_launches.h"

#include "../attention/cuda_launches.h"
#include "../linear/cuda_launches.h"

namespace onehead::cuda {

namespace {

/** Whether nothing that the kernel reads before the kernel before has ended is written in the program by then. */
bool keysStay(const Preparation& p, const Attention& o) {
  return !p.changesBefore(o.key) && !p.changesBefore(o.value) && !p.changesBefore(o.start) &&
         !p.changesBefore(o.source) && !p.changesBefore(o.rows) && !p.changesBefore(o.keyBegin) &&
         !p.changesBefore(o.keyCount);
}

}  // namespace

ProjectedAttentionArguments projectedOf(Preparation& p, const ProjectedAttention& o) {
  ProjectedAttentionArguments both{.projection = fewRowsOf(p, o.projection),
                                   .attention = attentionOf(p, o.attention),
                                   .appends = o.attention.newKey.has_value()};
  both.attention.newKey = both.attention.newValue = {};
  both.attention.keysStay = keysStay(p, o.attention);
  return both;
}

void prepare(Preparation& p, const ProjectedAttention& o) {
  const ProjectedAttentionArguments both = projectedOf(p, o);
  const Launcher& launcher = p.launcher();
  const bool one = o.attention.algorithm == AttentionAlgorithm::splitKeyValue && launcher.fusion != Fusion::never &&
                   projectedAttentionFits(both, launcher) &&
                   (launcher.fusion == Fusion::always || projectedAttentionPays(both, launcher));
  if (one) return p.kernel(both, projectedAttention);
  p.part = "product";
  prepare(p, o.projection);
  p.part = "attention";
  prepare(p, o.attention);
  p.part = "";
}

}  // namespace onehead::cuda
