// linearRows and layerNorm.
#include "checking.h"

using onehead::cpu::Activation;
using onehead::cpu::LinearRows;

namespace {

struct Case {
  int64_t rows, columns, depth;
  Format x, w, y;
  bool bias, norm, gelu, residual, inPlace;
};

std::vector<double> normalised(const Buffer& x, int64_t row, int64_t stride, int64_t width, Buffer* weight,
                               Buffer* bias, double epsilon) {
  std::vector<double> values(static_cast<size_t>(width));
  double mean = 0, variance = 0;
  for (int64_t i = 0; i < width; ++i) mean += x[row * stride + i] / double(width);
  for (int64_t i = 0; i < width; ++i) variance += std::pow(x[row * stride + i] - mean, 2) / double(width);
  for (int64_t i = 0; i < width; ++i) {
    const double value = x[row * stride + i];
    values[size_t(i)] = weight ? (value - mean) / std::sqrt(variance + epsilon) * (*weight)[i] + (*bias)[i] : value;
  }
  return values;
}

void check(const Kernels& kernels, ThreadTeam& team, int threads, const Case& c, Random& random) {
  const int64_t stride = c.depth + random.below(3) * 5;
  Buffer x(c.x, (c.rows - 1) * stride + c.depth, random, 2), w(c.w, c.columns * c.depth, random, 0.1);
  Buffer bias(Format::float32, c.columns, random), residual(Format::float32, c.rows * c.columns, random);
  Buffer normWeight(Format::float32, c.depth, random), normBias(Format::float32, c.depth, random);
  std::vector<double> reference;
  double before = 0;  // the size of what the activation gets: GELU may make all of it nearly zero
  for (int64_t m = 0; m < c.rows; ++m) {
    auto row = normalised(x, m, stride, c.depth, c.norm ? &normWeight : nullptr, &normBias, 1e-5);
    for (int64_t n = 0; n < c.columns; ++n) {
      double sum = c.bias ? bias[n] : 0;
      for (int64_t k = 0; k < c.depth; ++k) sum += row[size_t(k)] * w[n * c.depth + k];
      before += sum * sum;
      if (c.gelu) sum = 0.5 * sum * (1 + std::erf(sum / std::sqrt(2.0)));
      reference.push_back(sum + (c.residual ? residual[m * c.columns + n] : 0));
    }
  }
  Buffer own(c.y, c.rows * c.columns);
  Buffer& y = c.inPlace ? residual : own;
  Buffer scratch = scratchOf(onehead::cpu::linearRowsScratch(c.rows, c.depth));
  LinearRows a = {c.rows,
                  c.columns,
                  c.depth,
                  x.data(),
                  c.x,
                  stride,
                  w.data(),
                  c.w,
                  c.bias ? bias.floats() : nullptr,
                  c.norm ? normWeight.floats() : nullptr,
                  normBias.floats(),
                  1e-5f,
                  c.gelu ? Activation::gelu : Activation::none,
                  c.residual ? residual.floats() : nullptr,
                  y.data(),
                  c.y,
                  scratch.data()};
  team.run([&](const onehead::cpu::Team& member) { kernels.linearRows(a, member); });
  const bool rounded = c.y == Format::bfloat16 || (c.w == Format::bfloat16 && c.x == Format::float32) || c.norm;
  const double limit = c.w == Format::bfloat16 && rounded ? 5e-3 : c.y == Format::bfloat16 ? 3e-3 : 2e-6;
  const double error = relativeError(y, reference, std::sqrt(before));
  expect(error <= limit && y.intact() && scratch.intact(),
         "linearRows %s x%d rows %ld columns %ld depth %ld x %s w %s y %s norm %d gelu %d: error %g limit %g",
         kernels.name, threads, long(c.rows), long(c.columns), long(c.depth), nameOf(c.x), nameOf(c.w), nameOf(c.y),
         c.norm, c.gelu, error, limit);
}

void checkLayerNorm(const Kernels& kernels, ThreadTeam& team, int64_t rows, int64_t width, Format format,
                    Random& random) {
  Buffer x(Format::float32, rows * width, random, 3), weight(Format::float32, width, random);
  Buffer bias(Format::float32, width, random), y(format, rows * width);
  std::vector<double> reference;
  for (int64_t row = 0; row < rows; ++row)
    for (double value : normalised(x, row, width, width, &weight, &bias, 1e-5)) reference.push_back(value);
  onehead::cpu::LayerNorm a = {rows, width, x.floats(), weight.floats(), bias.floats(), 1e-5f, y.data(), format};
  team.run([&](const onehead::cpu::Team& member) { kernels.layerNorm(a, member); });
  const double error = relativeError(y, reference);
  expect(error <= (format == Format::float32 ? 1e-6 : 3e-3) && y.intact(), "layerNorm %s %ld x %ld %s: error %g",
         kernels.name, long(rows), long(width), nameOf(format), error);
}

}  // namespace

void checkLinear(const Kernels& kernels, ThreadTeam& team, int threads) {
  Random random(uint64_t(threads) + 7);
  const int64_t depths[] = {1, 7, 17, 33, 64, 100, 384, 512, 1280, 1536};
  const int64_t columns[] = {1, 3, 4, 15, 16, 65, 130, 384};
  for (int64_t rows = 1; rows <= 19; ++rows) {
    for (Format w : {Format::float32, Format::bfloat16}) {
      for (int i = 0; i < 6; ++i) {
        const int64_t depth = depths[random.below(10)], column = columns[random.below(8)];
        Case c = {rows,
                  column,
                  depth,
                  random.below(2) ? Format::float32 : Format::bfloat16,
                  w,
                  random.below(2) ? Format::float32 : Format::bfloat16,
                  random.below(2) == 0,
                  false,
                  random.below(2) == 0,
                  random.below(2) == 0,
                  false};
        c.norm = c.depth > 8 && random.below(2) == 0;
        c.inPlace = c.residual && c.y == Format::float32 && random.below(2) == 0;
        check(kernels, team, threads, c, random);
      }
    }
  }
  for (int64_t width : {5, 16, 33, 384, 400, 1280})
    for (int64_t rows : {1, 3, 10})
      for (Format format : {Format::float32, Format::bfloat16})
        checkLayerNorm(kernels, team, rows, width, format, random);
}
