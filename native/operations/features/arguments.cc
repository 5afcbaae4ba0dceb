#include "arguments.h"

#include "core/addresses.h"
#include "operation.h"

namespace onehead {

LogMelArguments argumentsOf(const Addresses& p, const LogMel& o) {
  return {.batch = o.y.shape[0],
          .frames = o.y.shape[2],
          .fftSize = o.window.shape[0],
          .hop = o.hop,
          .mels = o.y.shape[1],
          .samples = p.at<float>(o.samples),
          .window = p.at<float>(o.window),
          .filters = p.at<float>(o.filters),
          .peak = p.at<float>(o.peak),
          .features = p.at<float>(o.y),
          .scratch = nullptr};
}

}  // namespace onehead
