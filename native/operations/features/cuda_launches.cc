#include "cuda/preparation.h"

namespace onehead::cuda {

void prepare(Preparation& p, const LogMel& o) {
  const LogMelArguments arguments{.batch = o.y.shape[0],
                                  .frames = o.y.shape[2],
                                  .fftSize = o.window.shape[0],
                                  .hop = o.hop,
                                  .mels = o.y.shape[1],
                                  .samples = p.at<float>(o.samples),
                                  .window = p.at<float>(o.window),
                                  .filters = p.at<float>(o.filters),
                                  .peak = p.at<float>(o.peak),
                                  .features = p.at<float>(o.y)};
  if (!logMelFits(arguments, p.launcher()))
    p.unsupported("a window of " + std::to_string(arguments.fftSize) +
                  " samples needs more shared memory than this GPU has; Whisper's has 400.");
  p.kernel(arguments, logMel);
}

}  // namespace onehead::cuda
