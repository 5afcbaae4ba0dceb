// Whisper's log-mel features, vectorWidth frames at a time with one frame per lane. The Fourier transform is in fft.h.
#include "cpu/kernels/family.h"
#include "cpu/kernels/fft.h"
#include "cpu/kernels/math.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

struct MelRange {
  int32_t begin, end;  // of the filter's nonzero weights
};

/** Scratch memory, in floats: maxima [threads, batch], then from `first` on each thread's own. */
struct Layout {
  int64_t first, a, b, power, cosines, sines, ranges, perThread;

  Layout(const LogMelArguments& arguments, int threads) {
    const int64_t size = arguments.fftSize;
    first = roundUp(arguments.batch * threads, 16);
    a = 0;
    b = a + size * vectorWidth;
    power = b + size * vectorWidth;
    cosines = power + (size / 2 + 1) * vectorWidth;
    sines = cosines + roundUp(size, 16);
    ranges = sines + roundUp(size, 16);
    perThread = ranges + roundUp(2 * arguments.mels, 16);
  }
};

F gatherFrames(const float* samples, I indices) {
#if defined(__AVX512F__)
  return (F)_mm512_i32gather_ps((__m512i)indices, samples, 4);
#elif defined(__AVX2__)
  return (F)_mm256_i32gather_ps(samples, (__m256i)indices, 4);
#else
  F value;
  for (int i = 0; i < vectorWidth; ++i) value[i] = samples[indices[i]];
  return value;
#endif
}

void findRanges(const LogMelArguments& a, MelRange* ranges) {
  const int64_t bins = a.fftSize / 2 + 1;
  for (int64_t mel = 0; mel < a.mels; ++mel) {
    const float* filter = a.filters + mel * bins;
    int64_t begin = 0, end = bins;
    while (begin < end && filter[begin] == 0) ++begin;
    while (end > begin && filter[end - 1] == 0) --end;
    ranges[mel] = {int32_t(begin), int32_t(end)};
  }
}

}  // namespace

size_t logMelScratch(const LogMelArguments& a, int threads) {
  const Layout layout(a, threads);
  return size_t(layout.first + threads * layout.perThread) * sizeof(float) + 64;
}

void logMel(const LogMelArguments& a, const Team& team) {
  const Layout layout(a, team.threads);
  float* scratch = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(a.scratch) + 63) & ~uintptr_t(63));
  float* highest = scratch;
  float* threadScratch = scratch + layout.first + team.thread * layout.perThread;
  F* power = reinterpret_cast<F*>(threadScratch + layout.power);
  Complex* packed = reinterpret_cast<Complex*>(threadScratch + layout.a);
  MelRange* ranges = reinterpret_cast<MelRange*>(threadScratch + layout.ranges);
  const Roots roots = {threadScratch + layout.cosines, threadScratch + layout.sines, a.fftSize};
  fillRoots(a.fftSize, threadScratch + layout.cosines, threadScratch + layout.sines);
  findRanges(a, ranges);
  for (int64_t b = 0; b < a.batch; ++b) highest[team.thread * a.batch + b] = team.thread == 0 ? a.peak[b] : -infinity;

  const int64_t groups = (a.frames + vectorWidth - 1) / vectorWidth;
  const int64_t length = (a.frames - 1) * a.hop + a.fftSize, bins = a.fftSize / 2 + 1;
  const Share share(a.batch * groups, team);
  for (int64_t unit = share.begin; unit < share.end; ++unit) {
    const int64_t b = unit / groups, frame = unit % groups * vectorWidth;
    const int64_t count = min(vectorWidth, a.frames - frame);
    const float* samples = a.samples + b * length + frame * a.hop;
    I indices;
    for (int i = 0; i < vectorWidth; ++i)
      indices[i] = int32_t(min(i, count - 1) * a.hop);  // lanes without a frame repeat the last one
    for (int64_t n = 0; n < a.fftSize / 2; ++n) {
      packed[n].re = gatherFrames(samples + 2 * n, indices) * splat(a.window[2 * n]);
      packed[n].im = gatherFrames(samples + 2 * n + 1, indices) * splat(a.window[2 * n + 1]);
    }
    spectrumPower(packed, reinterpret_cast<Complex*>(threadScratch + layout.b), a.fftSize, roots, power);
    F top = splat(-infinity);
    for (int64_t mel = 0; mel < a.mels; ++mel) {
      const float* filter = a.filters + mel * bins;
      F energy = {};
      for (int64_t k = ranges[mel].begin; k < ranges[mel].end; ++k) energy = fused(splat(filter[k]), power[k], energy);
      const F value = log10Positive(max(energy, splat(1e-10f)));
      top = max(top, value);
      float* to = a.features + (b * a.mels + mel) * a.frames + frame;
      if (count == vectorWidth) {
        store(to, value);
      } else {
        storePart(to, value, count);
      }
    }
    float& best = highest[team.thread * a.batch + b];
    const float unitTop = maxLane(top);
    if (unitTop > best) best = unitTop;
  }
  team.barrier();

  const Share rows(a.batch * a.mels, team);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    float peak = -infinity;
    for (int thread = 0; thread < team.threads; ++thread)
      peak = highest[thread * a.batch + row / a.mels] > peak ? highest[thread * a.batch + row / a.mels] : peak;
    float* features = a.features + row * a.frames;
    const F floor = splat(peak - 8.0f);
    for (int64_t i = 0; i < a.frames; i += vectorWidth) {
      const int64_t count = min(vectorWidth, a.frames - i);
      const F value = count == vectorWidth ? load(features + i) : loadPart(features + i, count);
      const F scaled = (max(value, floor) + splat(4.0f)) * splat(0.25f);
      if (count == vectorWidth) {
        store(features + i, scaled);
      } else {
        storePart(features + i, scaled, count);
      }
    }
  }
  if (team.thread != 0) return;
  for (int64_t b = 0; b < a.batch; ++b)
    for (int thread = 0; thread < team.threads; ++thread)
      if (highest[thread * a.batch + b] > a.peak[b]) a.peak[b] = highest[thread * a.batch + b];
}

}  // namespace onehead::cpu::ONEHEAD_ISA
