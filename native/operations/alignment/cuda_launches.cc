#include "cuda/preparation.h"

namespace onehead::cuda {

void prepare(Preparation& p, const AlignPositions& o) {
  const AlignPositionsArguments a = argumentsOf(p, o);
  if (!alignPositionsFits(a, p.launcher()))
    p.unsupported(std::to_string(a.positions) + " positions need more shared memory than this GPU has.");
  p.kernel(a, alignPositions, alignPositionsScratch(a), 0,
           [](AlignPositionsArguments& here, const Workspace& workspace) { here.scratch = workspace.scratch(); });
}

void prepare(Preparation& p, const AddWeights& o) {
  const AddWeightsArguments a = argumentsOf(p, o);
  if (!addWeightsFits(a, p.launcher()))
    p.unsupported(std::to_string(a.heads) + " heads need more shared memory than this GPU has.");
  p.kernel(a, addWeights);
}

}  // namespace onehead::cuda
