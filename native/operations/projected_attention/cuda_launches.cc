#include "cuda_launches.h"

#include "../attention/cuda_launches.h"
#include "../linear/cuda_launches.h"

namespace onehead::cuda {

namespace {

/** Whether everything that the kernel loads before the previous one has ended is unchanged by the program up to here.
 * */
bool keysUnchanged(const Preparation& p, const Attention& o) {
  return !p.changesBefore(o.key) && !p.changesBefore(o.value) && !p.changesBefore(o.start) &&
         !p.changesBefore(o.source) && !p.changesBefore(o.rows) && !p.changesBefore(o.keyBegin) &&
         !p.changesBefore(o.keyCount);
}

}  // namespace

ProjectedAttentionArguments projectedOf(Preparation& p, const ProjectedAttention& o) {
  ProjectedAttentionArguments arguments{.projection = fewRowsOf(p, o.projection),
                                        .attention = attentionOf(p, o.attention),
                                        .appends = o.attention.newKey.has_value()};
  arguments.attention.newKey = arguments.attention.newValue = {};
  arguments.attention.keysUnchanged = keysUnchanged(p, o.attention);
  return arguments;
}

void prepare(Preparation& p, const ProjectedAttention& o) {
  const ProjectedAttentionArguments arguments = projectedOf(p, o);
  const Launcher& launcher = p.launcher();
  const bool fused = o.attention.algorithm == AttentionAlgorithm::splitKeyValue && launcher.fusion != Fusion::never &&
                     projectedAttentionFits(arguments, launcher) &&
                     (launcher.fusion == Fusion::always || projectedAttentionPays(arguments, launcher));
  if (fused) return p.kernel(arguments, projectedAttention);
  p.part = "product";
  prepare(p, o.projection);
  p.part = "attention";
  prepare(p, o.attention);
  p.part = "";
}

}  // namespace onehead::cuda
