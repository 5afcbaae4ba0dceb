#include "source.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "error.h"

namespace onehead {

namespace {

/** The smallest magnitude of `dtype`, as bits, that is not finite or would not be when rounded to `stored`. */
int32_t limitOf(DType dtype, DType stored) {
  switch (dtype) {
    case DType::float16:
      return 0x7c00;
    case DType::bfloat16:
      return stored == DType::float16 ? 0x4780 : 0x7f80;  // 65536
    default:
      if (stored == DType::float16) return 0x477ff000;   // 65520: halfway between the largest float16 and the next step
      if (stored == DType::bfloat16) return 0x7f7f8000;  // likewise for bfloat16
      return 0x7f800000;
  }
}

/** Whether all magnitudes are below the limit. Branch-free, so that it is as fast as memory. */
template <typename Bits>
bool allBelow(const Bits* bits, int64_t count, int32_t limit) {
  constexpr Bits magnitude = Bits(~Bits(0)) >> 1;
  int32_t above = 0;
  for (int64_t i = 0; i < count; ++i) above |= int32_t(bits[i] & magnitude) >= limit;
  return above == 0;
}

float numberAt(const void* data, DType dtype, int64_t i) {
  switch (dtype) {
    case DType::float16:
      return fromFloat16(static_cast<const uint16_t*>(data)[i]);
    case DType::bfloat16:
      return fromBfloat16(static_cast<const uint16_t*>(data)[i]);
    default:
      return static_cast<const float*>(data)[i];
  }
}

bool fits(const void* data, DType dtype, int64_t count, int32_t limit) {
  if (dtype == DType::float32) return allBelow(static_cast<const uint32_t*>(data), count, limit);
  return allBelow(static_cast<const uint16_t*>(data), count, limit);
}

}  // namespace

size_t Source::Part::bytes() const {
  if (encoding == Encoding::plain) return size_t(elements) * bytesOf(dtype);
  const Block block = blockOf(encoding);
  return size_t(elements / block.elements) * block.bytes;
}

size_t Source::Part::scaleBytes() const {
  return scales.each == 0 ? 0 : size_t((elements + scales.each - 1) / scales.each) * bytesOf(scales.dtype);
}

void Source::Part::decode(int64_t first, int64_t count, float* to) const {
  constexpr int64_t maxElements = int64_t(1) << 15;  // elements at once, so that they are decoded from cache
  const Block block = blockOf(encoding);
  std::vector<std::byte> blocks(size_t(std::min(count, maxElements) / block.elements) * block.bytes);
  for (int64_t done = 0; done < count; done += maxElements) {
    const int64_t step = std::min(maxElements, count - done);
    file->read(offset + size_t((first + done) / block.elements) * block.bytes, blocks.data(),
               size_t(step / block.elements) * block.bytes);
    onehead::decode(encoding, blocks.data(), step, to + done);
  }
  if (scales.each == 0 || count == 0) return;
  const size_t size = bytesOf(scales.dtype);
  const int64_t firstRun = first / scales.each, endRun = (first + count - 1) / scales.each + 1;
  std::vector<std::byte> divisors(size_t(endRun - firstRun) * size);
  file->read(scales.offset + size_t(firstRun) * size, divisors.data(), divisors.size());
  for (int64_t run = firstRun; run < endRun; ++run) {
    const float scale = numberAt(divisors.data(), scales.dtype, run - firstRun);
    const int64_t begin = std::max(first, run * scales.each), end = std::min(first + count, (run + 1) * scales.each);
    if (scales.factor)
      for (int64_t i = begin - first; i < end - first; ++i) to[i] *= scale;
    else
      for (int64_t i = begin - first; i < end - first; ++i) to[i] /= scale;
  }
}

void Source::Part::readRows(int64_t firstRow, int64_t rows, int8_t* to, float* factors) const {
  file->read(offset + size_t(firstRow * scales.each), to, size_t(rows * scales.each));
  const size_t size = bytesOf(scales.dtype);
  std::vector<std::byte> numbers(size_t(rows) * size);
  file->read(scales.offset + size_t(firstRow) * size, numbers.data(), numbers.size());
  for (int64_t row = 0; row < rows; ++row) {
    const float number = numberAt(numbers.data(), scales.dtype, row);
    factors[row] = scales.factor ? number : 1 / number;
    if (!std::isfinite(factors[row]))
      throw Error("MODEL_INVALID", file->path + ": the scale of row " + std::to_string(firstRow + row) +
                                       " of tensor '" + (name.empty() ? "?" : name) +
                                       "' is not a finite number: the checkpoint is damaged; download or export it "
                                       "again.");
  }
}

void Source::Part::read(int64_t first, int64_t count, void* to, DType stored) const {
  const size_t element = bytesOf(dtype);
  if (encoding == Encoding::plain)
    file->read(offset + size_t(first) * element, to, size_t(count) * element);
  else
    decode(first, count, static_cast<float*>(to));
  const int32_t limit = limitOf(dtype, stored);
  if (fits(to, dtype, count, limit)) return;
  int64_t i = 0;
  while (fits(static_cast<std::byte*>(to) + size_t(i) * element, dtype, 1, limit)) ++i;
  const float value = numberAt(to, dtype, i);
  char number[32];
  std::snprintf(number, sizeof number, "%.6g", double(value));
  const std::string where =
      file->path + ": element " + std::to_string(first + i) + " of tensor '" + (name.empty() ? "?" : name) + "' is ";
  if (std::isfinite(value))
    throw Error("MODEL_INVALID", where + number + ", which " + std::string(nameOf(stored)) +
                                     " cannot represent; load the model with dtype 'float32'.");
  throw Error("MODEL_INVALID", where + (std::isnan(value) ? "not a number" : "infinite") +
                                   ": the checkpoint is damaged; download or export it again.");
}

}  // namespace onehead
