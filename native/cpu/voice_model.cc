#include "voice_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace onehead::cpu {

namespace {

constexpr size_t kCells = VoiceActivity::cells, kContext = VoiceActivity::context, kFrame = VoiceActivity::frame;
constexpr size_t kPart = 256, kTaps = 3;
/** Inputs and outputs of the convolutions. */
constexpr size_t kChannels[][2] = {{129, 128}, {128, 64}, {64, 64}, {64, 128}};
/** Louder than any sound; keeps what is no audio from overflowing. */
constexpr float kLoudest = 1000;

/** [columns, depth] to [columns / 64, depth, 64]; `taps` of the depth are the fastest there, and the slowest here. */
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
  size_t size = 2 * 4 * kCells * kCells + 2 * 4 * kCells + kCells + 1;
  for (const auto& [inputs, outputs] : kChannels) size += (inputs * kTaps + 1) * outputs;
  return size;
}

VoiceModel::VoiceModel(const float* weights, const Kernels& kernels) : kernel_(kernels.voiceActivity) {
  constexpr size_t line = 16;  // floats of a cache line
  storage_.resize(weightsSize() + 3 * kPart + 16 * line);
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

  float *window = keep(kPart), *cosines = keep(kPart), *sines = keep(kPart);
  for (size_t i = 0; i < kPart; ++i) {
    const double angle = 2 * 3.141592653589793 * double(i) / double(kPart);
    window[i] = float(0.5 - 0.5 * std::cos(angle));
    cosines[i] = float(std::cos(angle));
    sines[i] = float(-std::sin(angle));
  }
  weights_.window = window;
  weights_.cosines = cosines;
  weights_.sines = sines;
  for (size_t i = 0; i < 4; ++i) {
    weights_.convolution[i] = packed(kChannels[i][1], kChannels[i][0], kTaps);
    weights_.bias[i] = copied(kChannels[i][1]);
  }
  weights_.input = packed(4 * kCells, kCells, 1);
  weights_.hidden = packed(4 * kCells, kCells, 1);
  float* bias = copied(4 * kCells);
  for (size_t i = 0; i < 4 * kCells; ++i) bias[i] += *weights++;
  weights_.gateBias = bias;
  weights_.output = copied(kCells);
  weights_.outputBias = *weights;
}

void VoiceModel::run(std::vector<Stream>& streams) const {
  // The longest first, so that those which still have frames are the first ones at every step.
  std::vector<size_t> order(streams.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return streams[a].samples.size() > streams[b].samples.size(); });
  const size_t count = streams.size();
  if (count == 0) return;
  std::vector<float> hidden(count * kCells), cell(count * kCells);
  std::vector<std::vector<float>> whole(count);
  std::vector<const float*> samples(count);
  std::vector<int64_t> frames(count);
  std::vector<float*> probabilities(count);
  for (size_t i = 0; i < count; ++i) {
    Stream& stream = streams[order[i]];
    const size_t length = stream.samples.size();
    whole[i].reserve(kContext + length);
    whole[i].assign(stream.state.begin(), stream.state.begin() + kContext);
    whole[i].insert(whole[i].end(), stream.samples.begin(), stream.samples.end());
    for (float& sample : whole[i]) sample = std::isfinite(sample) ? std::clamp(sample, -kLoudest, kLoudest) : 0.0f;
    samples[i] = whole[i].data();
    frames[i] = int64_t(length / kFrame);
    stream.probabilities.resize(length / kFrame);
    probabilities[i] = stream.probabilities.data();
    std::copy_n(stream.state.begin() + kContext, kCells, hidden.begin() + i * kCells);
    std::copy_n(stream.state.begin() + kContext + kCells, kCells, cell.begin() + i * kCells);
  }
  const auto floats = static_cast<size_t>(VoiceActivity::scratchFloats(static_cast<int64_t>(count)));
  std::vector<float> scratch(floats);
  kernel_({&weights_, int64_t(count), samples.data(), frames.data(), hidden.data(), cell.data(), probabilities.data(),
           scratch.data()});
  for (size_t i = 0; i < count; ++i) {
    Stream& stream = streams[order[i]];
    std::copy(whole[i].end() - kContext, whole[i].end(), stream.state.begin());
    std::copy_n(hidden.begin() + i * kCells, kCells, stream.state.begin() + kContext);
    std::copy_n(cell.begin() + i * kCells, kCells, stream.state.begin() + kContext + kCells);
  }
}

}  // namespace onehead::cpu
