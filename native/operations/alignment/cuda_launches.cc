#include "cuda/preparation.h"

namespace onehead::cuda {

void prepare(Preparation& p, const AlignPositions& o) {
  const AlignPositionsArguments a{.rows = o.scores.shape[0],
                                  .positions = o.scores.shape[1],
                                  .heads = o.scores.shape[2],
                                  .keys = o.scores.shape[3],
                                  .sequences = o.source.shape[0],
                                  .medianWidth = o.medianWidth,
                                  .scores = p.at<float>(o.scores),
                                  .source = p.at<int32_t>(o.source),
                                  .begin = p.at<int32_t>(o.begin),
                                  .end = p.at<int32_t>(o.end),
                                  .frames = p.at<int32_t>(o.frames),
                                  .y = p.at<int32_t>(o.y),
                                  .scratch = nullptr};
  if (!alignPositionsFits(a, p.launcher()))
    p.unsupported(std::to_string(a.positions) + " positions need more shared memory than this GPU has.");
  p.kernel(a, alignPositions, alignPositionsScratch(a), 0,
           [](AlignPositionsArguments& here, const Workspace& workspace) { here.scratch = workspace.scratch(); });
}

void prepare(Preparation& p, const AddWeights& o) {
  const AddWeightsArguments a{.batch = o.rows ? o.rows->shape[0] : o.to.shape[0],
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
  if (!addWeightsFits(a, p.launcher()))
    p.unsupported(std::to_string(a.heads) + " heads need more shared memory than this GPU has.");
  p.kernel(a, addWeights);
}

}  // namespace onehead::cuda
