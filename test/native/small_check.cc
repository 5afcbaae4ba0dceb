// logMel, convert, embed, gatherRows, transposeCast and tokenProbability.
#include <complex>

#include "checking.h"

using namespace onehead::cpu;

namespace {

void checkLogMel(const Kernels& kernels, ThreadTeam& team, int threads, int64_t batch, int64_t frames, int64_t size,
                 int64_t hop, int64_t mels, float peak, Random& random) {
  const int64_t length = (frames - 1) * hop + size, bins = size / 2 + 1;
  Buffer samples(Format::float32, batch * length, random, 0.1), window(Format::float32, size);
  Buffer filters(Format::float32, mels * bins);
  for (int64_t b = 0; b < batch; ++b)  // a loud tone over the noise, so that the floor at peak - 8 matters
    for (int64_t i = 0; i < length; ++i)
      samples.set(b * length + i, float(samples[i] * 0.001 + std::sin(0.3 * double(i))));
  for (int64_t i = 0; i < size; ++i)
    window.set(i, float(0.5 - 0.5 * std::cos(6.283185307179586 * double(i) / double(size))));
  for (int64_t m = 0; m < mels; ++m)
    for (int64_t k = 0; k < bins; ++k) {
      const double centre = double(m + 1) / double(mels + 1) * double(bins), reach = 1.2 * double(bins) / double(mels);
      filters.set(m * bins + k, float(std::max(0.0, 1 - std::fabs(double(k) - centre) / reach)));
    }
  std::vector<double> reference(size_t(batch * mels * frames));
  std::vector<double> peaks;
  for (int64_t b = 0; b < batch; ++b) {
    double highest = peak;
    for (int64_t f = 0; f < frames; ++f) {
      std::vector<double> power;
      for (int64_t k = 0; k < bins; ++k) {
        std::complex<double> sum = 0;
        for (int64_t n = 0; n < size; ++n)
          sum += samples[b * length + f * hop + n] * window[n] *
                 std::polar(1.0, -6.283185307179586 * double(k * n % size) / double(size));
        power.push_back(std::norm(sum));
      }
      for (int64_t m = 0; m < mels; ++m) {
        double energy = 0;
        for (int64_t k = 0; k < bins; ++k) energy += filters[m * bins + k] * power[size_t(k)];
        const double value = std::log10(std::max(energy, 1e-10));
        highest = std::max(highest, value);
        reference[size_t((b * mels + m) * frames + f)] = value;
      }
    }
    peaks.push_back(highest);
    for (int64_t i = b * mels * frames; i < (b + 1) * mels * frames; ++i)
      reference[size_t(i)] = (std::max(reference[size_t(i)], highest - 8) + 4) / 4;
  }
  Buffer features(Format::float32, batch * mels * frames), peakBuffer(Format::float32, batch);
  for (int64_t b = 0; b < batch; ++b) peakBuffer.set(b, peak);
  LogMel a = {batch,
              frames,
              size,
              hop,
              mels,
              samples.floats(),
              window.floats(),
              filters.floats(),
              peakBuffer.floats(),
              features.floats(),
              nullptr};
  Buffer scratch = scratchOf(logMelScratch(a, threads));
  a.scratch = scratch.data();
  team.run([&](const Team& member) { kernels.logMel(a, member); });
  const double error = relativeError(features, reference), peakError = relativeError(peakBuffer, peaks, 1);
  expect(error <= 1e-5 && peakError <= 1e-6 && features.intact() && scratch.intact() && peakBuffer.intact(),
         "logMel %s x%d batch %ld frames %ld size %ld mels %ld: error %g, of peak %g", kernels.name, threads,
         long(batch), long(frames), long(size), long(mels), error, peakError);
}

float halfToFloat(uint16_t half) {
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  double value = exponent == 0    ? std::ldexp(fraction, -24)
                 : exponent == 31 ? (fraction ? NAN : INFINITY)
                                  : std::ldexp(1024 + fraction, exponent - 25);
  return float(half & 0x8000 ? -value : value);
}

void checkConvert(const Kernels& kernels) {
  std::vector<uint16_t> halves(65536);
  for (int i = 0; i < 65536; ++i) halves[size_t(i)] = uint16_t(i);
  for (int64_t count : {1, 5, 16, 65535}) {
    const int64_t from = 65536 - count;
    for (SourceFormat source : {SourceFormat::float16, SourceFormat::bfloat16, SourceFormat::float32}) {
      std::vector<float> floats;
      for (int64_t i = from; i < 65536; ++i) {
        float value = source == SourceFormat::float16 ? halfToFloat(halves[size_t(i)]) : bf16ToFloat(halves[size_t(i)]);
        if (source == SourceFormat::float32) {  // values around the middle between two bfloat16
          const uint32_t word = uint32_t(i) << 16 | (i % 3 == 0 ? 0x8000u : i % 3 == 1 ? 0x7fffu : 0x8001u);
          std::memcpy(&value, &word, 4);
        }
        floats.push_back(value);
      }
      const void* data =
          source == SourceFormat::float32 ? static_cast<const void*>(floats.data()) : &halves[size_t(from)];
      for (Format to : {Format::float32, Format::bfloat16}) {
        Buffer y(to, count);
        kernels.convert(data, source, y.data(), to, count);
        int64_t wrong = 0;
        for (int64_t i = 0; i < count; ++i) {
          const float value = floats[size_t(i)];
          const float wanted = to == Format::float32 ? value : bf16ToFloat(floatToBf16(value));
          const double got = y[i];
          if (std::isnan(wanted) ? !std::isnan(got) : got != double(wanted)) ++wrong;
        }
        expect(wrong == 0 && y.intact(), "convert %s source %d to %s: %ld of %ld wrong", kernels.name, int(source),
               nameOf(to), long(wrong), long(count));
      }
    }
  }
}

void checkCopies(const Kernels& kernels, ThreadTeam& team, int threads, Random& random) {
  for (int64_t width : {7, 64, 384, 401}) {
    for (Format format : {Format::float32, Format::bfloat16}) {
      const int64_t batch = 3, count = 4, vocabulary = 50, positions = 20, stride = 20;
      Buffer table(format, vocabulary * width, random), place(Format::float32, positions * width, random);
      Buffer y(Format::float32, batch * count * width);
      std::vector<int32_t> tokens, start = {0, 5, 16};
      for (int64_t i = 0; i < batch * stride; ++i) tokens.push_back(int32_t(random.below(54)) - 2);
      std::vector<double> wanted;
      for (int64_t b = 0; b < batch; ++b)
        for (int64_t i = start[size_t(b)]; i < start[size_t(b)] + count; ++i)
          for (int64_t d = 0; d < width; ++d) {
            const int32_t token = tokens[size_t(b * stride + i)];
            wanted.push_back(0.5 * table[(token < 0 || token >= vocabulary ? 0 : token) * width + d] +
                             place[i * width + d]);
          }
      Embed a = {batch,        count,        width,  vocabulary,     positions, tokens.data(), stride,
                 start.data(), table.data(), format, place.floats(), 0.5f,      y.floats()};
      team.run([&](const Team& member) { kernels.embed(a, member); });
      expect(relativeError(y, wanted) < 1e-6 && y.intact(), "embed %s width %ld", kernels.name, long(width));

      const int64_t rows = 1 + random.below(70), columns = 1 + random.below(70);
      Buffer x(Format::float32, 2 * rows * columns, random), turned(format, 2 * rows * columns);
      wanted.clear();
      for (int64_t b = 0; b < 2; ++b)
        for (int64_t c = 0; c < columns; ++c)
          for (int64_t r = 0; r < rows; ++r) wanted.push_back(x[(b * rows + r) * columns + c]);
      TransposeCast t = {2, rows, columns, x.floats(), turned.data(), format};
      team.run([&](const Team& member) { kernels.transposeCast(t, member); });
      expect(relativeError(turned, wanted) <= (format == Format::float32 ? 0 : 3e-3) && turned.intact(),
             "transposeCast %s x%d %ld x %ld", kernels.name, threads, long(rows), long(columns));
    }
    Buffer x(Format::float32, 3 * 10 * width, random), y(Format::float32, 3 * (width + 4));
    const int32_t index[] = {0, 5, 12};
    GatherRows g = {3, 10, width, x.floats(), index, -1, y.floats(), width + 4};
    team.run([&](const Team& member) { kernels.gatherRows(g, member); });
    bool same = y.intact();
    for (int64_t b = 0; b < 3; ++b)
      for (int64_t d = 0; d < width; ++d)
        same = same && y[b * (width + 4) + d] == x[(b * 10 + (b == 0 ? 0 : b == 1 ? 4 : 9)) * width + d];
    expect(same, "gatherRows %s width %ld", kernels.name, long(width));

    Buffer logits(Format::float32, 3 * (width + 3), random, 5), probability(Format::float32, 3);
    std::vector<double> wanted;
    for (int64_t b = 0; b < 3; ++b) {
      double total = 0;
      for (int64_t i = 0; i < width; ++i) total += std::exp(logits[b * (width + 3) + i]);
      wanted.push_back(std::exp(logits[b * (width + 3) + 3]) / total);
    }
    TokenProbability p = {3, width, width + 3, logits.floats(), 3, probability.floats()};
    team.run([&](const Team& member) { kernels.tokenProbability(p, member); });
    expect(relativeError(probability, wanted) < 2e-6 && probability.intact(), "tokenProbability %s width %ld error %g",
           kernels.name, long(width), relativeError(probability, wanted));
  }
}

}  // namespace

void checkSmall(const Kernels& kernels, ThreadTeam& team, int threads) {
  Random random(uint64_t(threads) + 50);
  checkLogMel(kernels, team, threads, 1, 50, 400, 160, 80, -INFINITY, random);
  checkLogMel(kernels, team, threads, 2, 7, 400, 160, 128, 5.0f, random);
  for (int64_t size : {2, 6, 14, 32, 60, 154})
    checkLogMel(kernels, team, threads, 1, 18, size, 5, 3, -INFINITY, random);
  if (threads == 1) checkConvert(kernels);
  checkCopies(kernels, team, threads, random);
}
