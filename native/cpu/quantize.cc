#include "quantize.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace onehead::cpu {

namespace {

/** Elements that are read and quantized at once: they stay in cache, and there is no second copy of the weight. */
constexpr int64_t pieceElements = int64_t(1) << 16;

class Quantizer {
 public:
  Quantizer(int64_t columns, const Kernels& kernels, int8_t* panels, float* scales)
      : columns_(columns), kernels_(kernels), panels_(panels), scales_(scales), row_(size_t(columns)) {}

  void add(const Source::Part& part) {
    const int64_t rows = part.elements / columns_;
    if (!part.file) {
      next_ += rows;  // zeros, as the memory is already
      return;
    }
    const bool isRowwiseInt8 = part.encoding == Encoding::int8 && part.scales.each == columns_;
    // Encoded elements can only be read from multiples of decodingStep on.
    const int64_t unit = decodingStep / std::gcd(decodingStep, columns_);
    const int64_t step = std::max(unit, pieceElements / columns_ / unit * unit);
    for (int64_t done = 0; done < rows; done += step) {
      const int64_t count = std::min(step, rows - done);
      if (isRowwiseInt8) {
        copyRows(part, done, count);
      } else {
        quantizeRows(part, done, count);
      }
    }
  }

  double error() const { return quantizedRows_ > 0 ? std::sqrt(squaredErrors_ / double(quantizedRows_)) : 0; }

 private:
  void copyRows(const Source::Part& part, int64_t first, int64_t count) {
    bytes_.resize(size_t(count * columns_));
    part.readRows(first, count, bytes_.data(), scales_ + next_);
    for (int64_t row = 0; row < count; ++row) store(bytes_.data() + row * columns_);
  }

  void quantizeRows(const Source::Part& part, int64_t first, int64_t count) {
    const int64_t elements = count * columns_;
    piece_.resize(size_t(elements) * bytesOf(part.dtype));
    floats_.resize(size_t(elements));
    part.read(first * columns_, elements, piece_.data(), DType::float32);
    kernels_.convert(piece_.data(), part.dtype, floats_.data(), DType::float32, elements);
    for (int64_t row = 0; row < count; ++row) {
      const float* x = floats_.data() + row * columns_;
      const float scale = scales_[next_] = kernels_.quantizeRow(x, columns_, row_.data());
      if (!std::isfinite(scale) || scale > 0) {
        const double error = roundingError(row_.data());
        squaredErrors_ += error * error;
        ++quantizedRows_;
      }
      store(row_.data());
    }
  }

  /** The rounding error (a step / sqrt(12)) relative to a typical element of the row, which is estimated by the median
   * magnitude as that of a normal distribution. An outlier makes steps large but leaves the median unchanged. */
  double roundingError(const int8_t* row) const {
    int64_t counts[128] = {};
    for (int64_t k = 0; k < columns_; ++k) ++counts[std::abs(int(row[k]))];
    int median = 0;
    for (int64_t below = counts[0]; 2 * below < columns_; below += counts[median]) ++median;
    constexpr double roundingDeviation = 0.288675, medianOfNormal = 0.67449;
    return roundingDeviation * medianOfNormal / (median + 0.5);
  }

  void store(const int8_t* row) {
    int8_t* to = panels_ + int8PanelIndex(next_++, 0, columns_);
    for (int64_t k = 0; k < columns_; ++k) to[k / 4 * 4 * integerPanelRows + k % 4] = row[k];
  }

  const int64_t columns_;
  const Kernels& kernels_;
  int8_t* const panels_;
  float* const scales_;
  int64_t next_ = 0;  // next row
  double squaredErrors_ = 0;
  int64_t quantizedRows_ = 0;  // rows that were quantized here, except rows of zeros
  std::vector<int8_t> row_, bytes_;
  std::vector<std::byte> piece_;
  std::vector<float> floats_;
};

}  // namespace

Backend::Quantized quantized(const Source& source, const Shape& shape, const Kernels& kernels,
                             const std::shared_ptr<MemoryCounter>& counter) {
  const int64_t rows = shape[0], columns = shape[1];
  const int64_t padded = (rows + integerPanelRows - 1) / integerPanelRows * integerPanelRows;
  auto data = std::make_shared<CpuStorage>(rows, columns, counter);
  auto scales = std::make_shared<CpuStorage>(size_t(padded) * sizeof(float), counter);
  Quantizer quantizer(columns, kernels, data->panels(), reinterpret_cast<float*>(scales->plain()));
  for (const Source::Part& part : source.parts) quantizer.add(part);
  return {data, scales, quantizer.error()};
}

}  // namespace onehead::cpu
