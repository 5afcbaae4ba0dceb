// quantizeRow, linearBytes, scatterHeads, and decode attention over caches of 8 bits.
#include "checking.h"

using onehead::cpu::Activation;
using onehead::cpu::Attention;
using onehead::cpu::LinearBytes;

namespace {

/** Whole rows of 8 bits with a scale each. */
struct Bytes {
  std::vector<int8_t> q;
  std::vector<float> scales;
  int64_t width;
  double operator()(int64_t row, int64_t i) const { return double(q[size_t(row * width + i)]) * scales[size_t(row)]; }
};

Bytes quantized(const Kernels& kernels, const std::vector<float>& x, int64_t width) {
  Bytes bytes{std::vector<int8_t>(x.size()), {}, width};
  for (size_t at = 0; at < x.size(); at += size_t(width))
    bytes.scales.push_back(kernels.quantizeRow(x.data() + at, width, bytes.q.data() + at));
  return bytes;
}

std::vector<float> numbers(int64_t count, Random& random, double size = 1) {
  std::vector<float> x(static_cast<size_t>(count));
  for (float& one : x) one = float(random.normal() * size);
  return x;
}

void checkQuantizeRow(const Kernels& kernels, Random& random) {
  for (int64_t width : {1, 3, 15, 16, 17, 64, 100, 513}) {
    std::vector<float> x = numbers(width, random, std::pow(10, double(random.below(9) - 4)));
    const Bytes own = quantized(kernels, x, width);
    const Bytes portable = quantized(*onehead::cpu::kernels("portable"), x, width);
    bool near = true;
    float top = 0;
    for (int64_t i = 0; i < width; ++i) {
      near = near && std::abs(own(0, i) - double(x[size_t(i)])) <= 0.5001 * own.scales[0];
      top = std::max(top, std::abs(x[size_t(i)]));
    }
    expect(near && own.scales[0] == top / 127.0f && own.q == portable.q && own.scales == portable.scales,
           "quantizeRow %s of %ld: another rounding", kernels.name, long(width));
    std::fill(x.begin(), x.end(), 0.0f);
    const Bytes none = quantized(kernels, x, width);
    expect(none.scales[0] == 0 && none.q == std::vector<int8_t>(size_t(width)), "quantizeRow %s of zeros",
           kernels.name);
    for (float bad : {NAN, INFINITY, -INFINITY}) {
      x[size_t(width - 1)] = bad;
      expect(std::isnan(quantized(kernels, x, width).scales[0]), "quantizeRow %s hides %g", kernels.name, double(bad));
    }
  }
}

void checkLinearBytes(const Kernels& kernels, ThreadTeam& team, int threads, int64_t rows, Random& random) {
  const int64_t depths[] = {1, 7, 16, 33, 64, 100, 384, 512, 1536}, widths[] = {1, 15, 16, 17, 48, 65, 130, 384};
  const int64_t depth = depths[random.below(9)], columns = widths[random.below(8)];
  const bool whole = random.below(2), norm = depth > 8 && random.below(3) == 0, gelu = random.below(2);
  const bool bias = random.below(2), residual = random.below(2);
  const Format xFormat = norm || random.below(2) ? Format::float32 : Format::bfloat16;
  const Format yFormat = random.below(2) ? Format::float32 : Format::bfloat16;
  const Bytes w = quantized(kernels, numbers(columns * depth, random, 0.1), depth);
  std::vector<int8_t> panels(size_t(onehead::cpu::bytePanels(columns, depth)));
  for (int64_t n = 0; n < columns; ++n)
    for (int64_t k = 0; k < depth; ++k)
      panels[size_t(onehead::cpu::bytePlace(n, k, depth))] = w.q[size_t(n * depth + k)];
  std::vector<float> scales = w.scales;
  scales.resize(size_t((columns + 15) / 16 * 16), NAN);
  Buffer x(xFormat, rows * depth, random, 2), biases(Format::float32, columns, random);
  Buffer added(Format::float32, rows * columns, random), y(yFormat, rows * columns);
  Buffer normWeight(Format::float32, depth, random), normBias(Format::float32, depth, random);
  std::vector<double> reference;
  double before = 0;
  for (int64_t m = 0; m < rows; ++m) {
    std::vector<float> row(static_cast<size_t>(depth));
    double mean = 0, variance = 0;
    for (int64_t k = 0; k < depth; ++k) mean += x[m * depth + k] / double(depth);
    for (int64_t k = 0; k < depth; ++k) variance += std::pow(x[m * depth + k] - mean, 2) / double(depth);
    for (int64_t k = 0; k < depth; ++k) {
      const double value = x[m * depth + k];
      row[size_t(k)] = float(norm ? (value - mean) / std::sqrt(variance + 1e-5) * normWeight[k] + normBias[k] : value);
    }
    const Bytes own = quantized(kernels, row, depth);
    for (int64_t n = 0; n < columns; ++n) {
      double sum = bias ? biases[n] : 0;
      for (int64_t k = 0; k < depth; ++k) sum += (whole ? own(0, k) : double(row[size_t(k)])) * w(n, k);
      before += sum * sum;
      if (gelu) sum = 0.5 * sum * (1 + std::erf(sum / std::sqrt(2.0)));
      reference.push_back(sum + (residual ? added[m * columns + n] : 0));
    }
  }
  Buffer scratch = scratchOf(onehead::cpu::linearBytesScratch(rows, depth, threads));
  const LinearBytes a{.rows = rows,
                      .columns = columns,
                      .depth = depth,
                      .x = x.data(),
                      .xFormat = xFormat,
                      .xStride = depth,
                      .w = panels.data(),
                      .scales = scales.data(),
                      .quantized = whole,
                      .bias = bias ? biases.floats() : nullptr,
                      .normWeight = norm ? normWeight.floats() : nullptr,
                      .normBias = normBias.floats(),
                      .epsilon = 1e-5f,
                      .activation = gelu ? Activation::gelu : Activation::none,
                      .residual = residual ? added.floats() : nullptr,
                      .y = y.data(),
                      .yFormat = yFormat,
                      .scratch = scratch.data()};
  team.run([&](const onehead::cpu::Team& member) { kernels.linearBytes(a, member); });
  // Sums are exact; only where the norm rounds otherwise may a whole number be the next one.
  const double limit = norm && whole ? 2e-3 : yFormat == Format::bfloat16 ? 3e-3 : 2e-6;
  const double error = relativeError(y, reference, std::sqrt(before));
  expect(error <= std::max(limit, yFormat == Format::bfloat16 ? 3e-3 : 0) && y.intact() && scratch.intact(),
         "linearBytes %s x%d rows %ld columns %ld depth %ld x %s y %s quantized %d norm %d gelu %d: error %g limit %g",
         kernels.name, threads, long(rows), long(columns), long(depth), nameOf(xFormat), nameOf(yFormat), whole, norm,
         gelu, error, limit);
}

void checkScatterHeads(const Kernels& kernels, ThreadTeam& team, Random& random) {
  const int64_t heads = 3, size = 24, rows = 5, positions = 12, width = heads * size;
  const std::vector<float> x = numbers(2 * rows * width, random);
  const Bytes wanted = quantized(kernels, x, size);
  std::vector<int8_t> y(size_t(positions * width), 77);
  std::vector<float> scales(size_t(positions * heads), -1);
  const int32_t begin[] = {9, -1};  // two of five rows do not fit, and the second sequence goes nowhere
  const onehead::cpu::ScatterHeads a{2,     rows,     positions,    heads, size, width, x.data(), Format::float32,
                                     begin, y.data(), scales.data()};
  team.run([&](const onehead::cpu::Team& member) { kernels.scatterHeads(a, member); });
  bool right = true;
  for (int64_t p = 0; p < positions; ++p)
    for (int64_t i = 0; i < width; ++i) {
      const size_t at = size_t(p * width + i), from = size_t((p - 9) * width + i), scale = size_t(p * heads + i / size);
      right = right && (p < 9 ? y[at] == 77 && scales[scale] == -1
                              : y[at] == wanted.q[from] && scales[scale] == wanted.scales[from / size_t(size)]);
    }
  expect(right, "scatterHeads %s: other rows", kernels.name);
}

void checkAttentionBytes(const Kernels& kernels, ThreadTeam& team, int threads, Format format, Random& random) {
  const int64_t sizes[] = {8, 24, 33, 64, 64, 128};
  const int64_t batch = 1 + random.below(3), queries = 1 + random.below(random.below(2) ? 1 : 6);
  const int64_t groups = 1 + random.below(3), heads = groups * (1 + random.below(3)), size = sizes[random.below(6)];
  const int64_t keys = queries + random.below(200), width = groups * size;
  const bool append = random.below(2);
  Buffer q(format, batch * queries * heads * size, random, 1.5), y(format, batch * queries * heads * size);
  Buffer newKey(format, batch * queries * width, random), newValue(format, batch * queries * width, random);
  Bytes k = quantized(kernels, numbers(batch * keys * width, random), size);
  Bytes v = quantized(kernels, numbers(batch * keys * width, random), size);
  std::vector<int32_t> start;
  for (int64_t b = 0; b < batch; ++b) start.push_back(int32_t(random.below(keys - queries + 1)));
  Bytes fullK = k, fullV = v;
  for (int64_t b = 0; append && b < batch; ++b)
    for (int64_t i = 0; i < queries; ++i)
      for (int64_t g = 0; g < groups; ++g)
        for (auto [to, from] : {std::pair{&fullK, &newKey}, std::pair{&fullV, &newValue}}) {
          std::vector<float> row;
          for (int64_t d = 0; d < size; ++d) row.push_back(float((*from)[(b * queries + i) * width + g * size + d]));
          const Bytes bytes = quantized(kernels, row, size);
          const size_t place = size_t((b * keys + start[size_t(b)] + i) * groups + g);
          std::copy(bytes.q.begin(), bytes.q.end(), to->q.begin() + int64_t(place) * size);
          to->scales[place] = bytes.scales[0];
        }
  const double scale = 1 / std::sqrt(double(size));
  std::vector<double> wanted;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t i = 0; i < queries; ++i)
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t seen = append ? start[size_t(b)] + i + 1 : keys, g = h * groups / heads;
        std::vector<double> weights, sums(static_cast<size_t>(size));
        double total = 0;
        for (int64_t j = 0; j < seen; ++j) {
          double score = 0;
          for (int64_t d = 0; d < size; ++d)
            score += q[((b * queries + i) * heads + h) * size + d] * fullK((b * keys + j) * groups + g, d);
          weights.push_back(std::exp(score * scale));
          total += weights.back();
        }
        for (int64_t j = 0; j < seen; ++j)
          for (int64_t d = 0; d < size; ++d)
            sums[size_t(d)] += weights[size_t(j)] / total * fullV((b * keys + j) * groups + g, d);
        wanted.insert(wanted.end(), sums.begin(), sums.end());
      }
  Attention a = {batch,
                 queries,
                 keys,
                 heads,
                 groups,
                 size,
                 format,
                 {q.data(), queries * heads * size, heads * size},
                 {k.q.data(), keys * width, width},
                 {v.q.data(), keys * width, width},
                 append,
                 append ? start.data() : nullptr,
                 append ? newKey.data() : nullptr,
                 append ? newValue.data() : nullptr,
                 queries * width,
                 width,
                 float(scale),
                 y.data(),
                 nullptr};
  a.keyScales = k.scales.data();
  a.valueScales = v.scales.data();
  a.scaleStride = keys * groups;
  constexpr auto algorithm = onehead::cpu::AttentionAlgorithm::splitKeyValue;
  Buffer scratch = scratchOf(onehead::cpu::attentionScratch(a, algorithm, threads));
  a.scratch = scratch.data();
  team.run([&](const onehead::cpu::Team& member) { kernels.attention(a, algorithm, member); });
  const double error = relativeError(y, wanted), limit = format == Format::float32 ? 3e-6 : 6e-3;
  expect(error <= limit && y.intact() && scratch.intact() && k.q == fullK.q && v.q == fullV.q &&
             k.scales == fullK.scales && v.scales == fullV.scales,
         "attention over bytes %s x%d %s batch %ld queries %ld keys %ld heads %ld/%ld size %ld append %d: error %g",
         kernels.name, threads, nameOf(format), long(batch), long(queries), long(keys), long(heads), long(groups),
         long(size), append, error);
}

}  // namespace

void checkBytes(const Kernels& kernels, ThreadTeam& team, int threads) {
  Random random(uint64_t(threads) + 21);
  checkQuantizeRow(kernels, random);
  for (int i = 0; i < 4; ++i)
    for (int64_t rows : {1, 2, 3, 4, 5, 8, 11, 12, 13, 16, 17, 40, 63, 64, 65, 100, 201})
      checkLinearBytes(kernels, team, threads, rows, random);
  checkScatterHeads(kernels, team, random);
  for (int i = 0; i < 40; ++i)
    checkAttentionBytes(kernels, team, threads, i % 2 ? Format::float32 : Format::bfloat16, random);
}
