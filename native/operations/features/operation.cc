#include "operation.h"

#include "core/addresses.h"
#include "core/arguments.h"

namespace onehead {

Reasons LogMel::notSupported(const Capabilities& device) const {
  Reasons reasons;
  const int64_t fftSize = window.shape[0];
  device.checkSharedMemory(logMelSharedBytes(fftSize), "A window of " + std::to_string(fftSize) + " samples needs",
                           reasons);
  return reasons;
}

LogMel logMel(const Arguments& arguments) {
  const Tensor& samples = arguments.typed(arguments.tensor("samples", 2), "samples", DType::float32);
  const Tensor& window = arguments.typed(arguments.tensor("window", 1), "window", DType::float32);
  int64_t batch = samples.shape[0], fft = window.shape[0], hop = arguments.integer("hop", 1, fft);
  if (fft % 2) arguments.refuse("INVALID_SHAPE", "window", "of an even number of samples", toString(window.shape));
  const Tensor& filters = arguments.typed(arguments.tensor("filters", 2), "filters", DType::float32);
  if (filters.shape[1] != fft / 2 + 1)
    arguments.refuse("INVALID_SHAPE", "filters", "[mels, " + std::to_string(fft / 2 + 1) + "]",
                     toString(filters.shape));
  int64_t count = samples.shape[1];
  if (count < fft || (count - fft) % hop)
    arguments.refuse("INVALID_SHAPE", "samples",
                     "[batch, (frames - 1) * " + std::to_string(hop) + " + " + std::to_string(fft) + "]",
                     toString(samples.shape));
  int64_t frames = (count - fft) / hop + 1;
  return {.samples = samples,
          .window = window,
          .filters = filters,
          .peak = arguments.shaped("peak", {batch}, DType::float32),
          .y = arguments.output(DType::float32, {batch, filters.shape[0], frames}),
          .hop = hop};
}

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
