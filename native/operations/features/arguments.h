// The arguments of the feature kernels of both backends.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/kinds.h"

namespace onehead {

/**
 * Whisper's log-mel spectrogram. samples [batch, (frames - 1) * hop + fftSize]; the first frame starts at sample 0, so
 * the caller pads. features [batch, mels, frames] = (max(log10(max(mel, 1e-10)), peak - 8) + 4) / 4, where peak is the
 * larger of this window's maximum of log10 and peak[b], which is updated to it. With -infinity in peak[b] the window
 * determines its own peak.
 */
struct LogMelArguments {
  int64_t batch, frames, fftSize, hop, mels;  // fftSize is even
  const float* samples;
  const float* window;   // [fftSize]
  const float* filters;  // [mels, fftSize / 2 + 1]; mostly zeros
  float* peak;           // [batch]
  float* features;
  void* scratch;  // CPU only
};

/** Frames per block on a GPU, and the shared memory that they take, in bytes. */
constexpr int64_t logMelBlockFrames = 16;
constexpr size_t logMelSharedBytes(int64_t fftSize) {
  return size_t(3 * (fftSize / 2 + 1) * logMelBlockFrames + 2 * fftSize) * sizeof(float);
}

#define ONEHEAD_FEATURES_KERNELS(kernel, withScratch) withScratch(LogMel, logMel)

}  // namespace onehead
