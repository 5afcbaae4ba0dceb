#include "cuda/preparation.h"

namespace onehead::cuda {

void prepare(Preparation& p, const LogMel& o) {
  const LogMelArguments arguments = argumentsOf(p, o);
  if (!logMelFits(arguments, p.launcher()))
    p.unsupported("a window of " + std::to_string(arguments.fftSize) +
                  " samples needs more shared memory than this GPU has; Whisper's has 400.");
  p.kernel(arguments, logMel);
}

}  // namespace onehead::cuda
