// Silero's voice detector: its weights laid out for the kernel, and runs over recordings. Knows no JavaScript.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels.h"

namespace onehead::cpu {

/** Usable by several threads at once. */
class VoiceModel {
 public:
  /** One recording's next frames. */
  struct Stream {
    /** `stateSize` numbers: the samples before, then the cell's state; zeros at first, then as the last run left it. */
    std::vector<float> state;
    /** Whole frames, one at least. */
    std::vector<float> samples;
    /** The result: one for each frame. */
    std::vector<float> probabilities;
  };
  static constexpr size_t stateSize = VoiceActivity::context + 2 * VoiceActivity::cells;
  static constexpr size_t frame = VoiceActivity::frame;
  /** Numbers that the weights are. */
  static size_t weightsSize();

  /**
   * `weights`, one after the other: weight [outputs, inputs, 3] and bias of each of the four convolutions; weight_ih
   * [512, 128], weight_hh [512, 128], bias_ih and bias_hh of the cell; weight [128] and bias [1] of the output.
   */
  VoiceModel(const float* weights, const Kernels& kernels);

  /** Samples that are no finite numbers count as silence. */
  void run(std::vector<Stream>& streams) const;

 private:
  std::vector<float> storage_;
  VoiceWeights weights_;
  decltype(Kernels::voiceActivity) kernel_;
};

}  // namespace onehead::cpu
