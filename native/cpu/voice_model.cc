#include "voice_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace onehead::cpu {

namespace {

constexpr size_t cellCount = VoiceActivity::cells, contextSamples = VoiceActivity::context,
                 frameSamples = VoiceActivity::frame;
constexpr size_t partSamples = 256, tapCount = 3;
/** Input and output channels of the convolutions. */
constexpr size_t channelCounts[][2] = {{129, 128}, {128, 64}, {64, 64}, {64, 128}};
/** Louder than any sound; prevents overflow from data that is not audio. */
constexpr float loudest = 1000;

/** [columns, inputs, taps] to [columns / 64, taps, inputs, 64]. */
void pack(const float* from, size_t columns, size_t inputs, size_t taps, float* to) {
  constexpr size_t panel = VoiceWeights::panel;
  for (size_t begin = 0; begin < columns; begin += panel)
    for (size_t tap = 0; tap < taps; ++tap)
      for (size_t input = 0; input < inputs; ++input)
        for (size_t column = begin; column < begin + panel; ++column)
          *to++ = from[(column * inputs + input) * taps + tap];
}

}  // namespace

size_t VoiceModel::weightsSize() {
  size_t size = 2 * 4 * cellCount * cellCount + 2 * 4 * cellCount + cellCount + 1;
  for (const auto& [inputs, outputs] : channelCounts) size += (inputs * tapCount + 1) * outputs;
  return size;
}

VoiceModel::VoiceModel(const float* weights, const Kernels& kernels) : kernel_(kernels.voiceActivity) {
  constexpr size_t line = 16;  // floats of a cache line
  storage_.resize(weightsSize() + 3 * partSamples + 16 * line);
  const auto address = reinterpret_cast<uintptr_t>(storage_.data());
  float* at = storage_.data() + (64 - address % 64) % 64 / sizeof(float);
  const auto keep = [&](size_t count) {
    float* kept = at;
    at += (count + line - 1) / line * line;
    return kept;
  };
  const auto copied = [&](size_t count) {
    float* kept = keep(count);
    std::memcpy(kept, weights, count * sizeof(float));
    weights += count;
    return kept;
  };
  const auto packed = [&](size_t columns, size_t inputs, size_t taps) {
    float* kept = keep(columns * inputs * taps);
    pack(weights, columns, inputs, taps, kept);
    weights += columns * inputs * taps;
    return kept;
  };

  float *window = keep(partSamples), *cosines = keep(partSamples), *sines = keep(partSamples);
  for (size_t i = 0; i < partSamples; ++i) {
    const double angle = 2 * 3.141592653589793 * double(i) / double(partSamples);
    window[i] = float(0.5 - 0.5 * std::cos(angle));
    cosines[i] = float(std::cos(angle));
    sines[i] = float(-std::sin(angle));
  }
  weights_.window = window;
  weights_.cosines = cosines;
  weights_.sines = sines;
  for (size_t i = 0; i < 4; ++i) {
    weights_.convolution[i] = packed(channelCounts[i][1], channelCounts[i][0], tapCount);
    weights_.bias[i] = copied(channelCounts[i][1]);
  }
  weights_.input = packed(4 * cellCount, cellCount, 1);
  weights_.hidden = packed(4 * cellCount, cellCount, 1);
  float* bias = copied(4 * cellCount);
  for (size_t i = 0; i < 4 * cellCount; ++i) bias[i] += *weights++;
  weights_.gateBias = bias;
  weights_.output = copied(cellCount);
  weights_.outputBias = *weights;
}

void VoiceModel::run(std::vector<Stream>& streams) const {
  // Longest first, so that at every step the streams that still have frames are the first ones.
  std::vector<size_t> order(streams.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return streams[a].samples.size() > streams[b].samples.size(); });
  const size_t count = streams.size();
  if (count == 0) return;
  std::vector<float> hidden(count * cellCount), cell(count * cellCount);
  std::vector<std::vector<float>> input(count);
  std::vector<const float*> samples(count);
  std::vector<int64_t> frames(count);
  std::vector<float*> probabilities(count);
  for (size_t i = 0; i < count; ++i) {
    Stream& stream = streams[order[i]];
    const size_t length = stream.samples.size();
    input[i].reserve(contextSamples + length);
    input[i].assign(stream.state.begin(), stream.state.begin() + contextSamples);
    input[i].insert(input[i].end(), stream.samples.begin(), stream.samples.end());
    for (float& sample : input[i]) sample = std::isfinite(sample) ? std::clamp(sample, -loudest, loudest) : 0.0f;
    samples[i] = input[i].data();
    frames[i] = int64_t(length / frameSamples);
    stream.probabilities.resize(length / frameSamples);
    probabilities[i] = stream.probabilities.data();
    std::copy_n(stream.state.begin() + contextSamples, cellCount, hidden.begin() + i * cellCount);
    std::copy_n(stream.state.begin() + contextSamples + cellCount, cellCount, cell.begin() + i * cellCount);
  }
  const auto floats = static_cast<size_t>(VoiceActivity::scratchFloats(static_cast<int64_t>(count)));
  std::vector<float> scratch(floats);
  kernel_({&weights_, int64_t(count), samples.data(), frames.data(), hidden.data(), cell.data(), probabilities.data(),
           scratch.data()});
  for (size_t i = 0; i < count; ++i) {
    Stream& stream = streams[order[i]];
    std::copy(input[i].end() - contextSamples, input[i].end(), stream.state.begin());
    std::copy_n(hidden.begin() + i * cellCount, cellCount, stream.state.begin() + contextSamples);
    std::copy_n(cell.begin() + i * cellCount, cellCount, stream.state.begin() + contextSamples + cellCount);
  }
}

}  // namespace onehead::cpu
