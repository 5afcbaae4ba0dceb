// Silero's voice detector: lays out its weights for the kernel, and runs it on recordings.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels.h"

namespace onehead::cpu {

/** Thread-safe. */
class VoiceModel {
 public:
  /** The next frames of one recording. */
  struct Stream {
    /** `stateSize` numbers: the previous samples, then the cell's state. Zero at first, then updated by each run. */
    std::vector<float> state;
    /** Whole frames, at least one. */
    std::vector<float> samples;
    /** Output: one probability per frame. */
    std::vector<float> probabilities;
  };
  static constexpr size_t stateSize = VoiceActivity::context + 2 * VoiceActivity::cells;
  static constexpr size_t frame = VoiceActivity::frame;
  /** The number of weights. */
  static size_t weightsSize();

  /**
   * `weights` in this order: weight [outputs, inputs, 3] and bias of each of the four convolutions; weight_ih [512,
   * 128], weight_hh [512, 128], bias_ih and bias_hh of the cell; weight [128] and bias [1] of the output.
   */
  VoiceModel(const float* weights, const Kernels& kernels);

  /** Samples that are not finite count as silence. */
  void run(std::vector<Stream>& streams) const;

 private:
  std::vector<float> storage_;
  VoiceWeights weights_;
  decltype(Kernels::voiceActivity) kernel_;
};

}  // namespace onehead::cpu
