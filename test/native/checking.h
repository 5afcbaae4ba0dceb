// What the kernels' check is made of: repeatable random numbers, poisoned buffers with sentinels, and comparison.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "kernels.h"
#include "team.h"

using onehead::cpu::Format;
using onehead::cpu::Kernels;

/** Repeatable random numbers: the same in every run, on every machine. */
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  uint64_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    return state_ ^= state_ << 17;
  }
  int64_t below(int64_t limit) { return int64_t(next() >> 11) % limit; }
  double uniform() { return double(next() >> 11) * 0x1p-53; }
  double normal() { return std::sqrt(-2 * std::log(uniform() + 1e-300)) * std::cos(6.283185307179586 * uniform()); }

 private:
  uint64_t state_;
};

inline float bf16ToFloat(uint16_t bits) {
  const uint32_t word = uint32_t(bits) << 16;
  float value;
  std::memcpy(&value, &word, 4);
  return value;
}
inline uint16_t floatToBf16(float value) {
  uint32_t word;
  std::memcpy(&word, &value, 4);
  if (value != value) return uint16_t(word >> 16 | 0x40);
  return uint16_t((word + 0x7fff + (word >> 16 & 1)) >> 16);
}

/** Elements of a kernel's operand, 64-byte aligned, with sentinels behind them; fresh ones are poisoned with NaN. */
class Buffer {
 public:
  Buffer(Format format, int64_t count) : format_(format), count_(count) {
    data_ = static_cast<unsigned char*>(std::aligned_alloc(64, (bytes() + kGuard + 63) / 64 * 64));
    std::memset(data_, 0xff, bytes());
    std::memset(data_ + bytes(), 0xa5, kGuard);
  }
  Buffer(Format format, int64_t count, Random& random, double size = 1) : Buffer(format, count) {
    for (int64_t i = 0; i < count; ++i) set(i, float(random.normal() * size));
  }
  Buffer(const Buffer& other) : Buffer(other.format_, other.count_) { std::memcpy(data_, other.data_, bytes()); }
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }

  void set(int64_t i, float value) {
    if (format_ == Format::float32) {
      floats()[i] = value;
    } else {
      reinterpret_cast<uint16_t*>(data_)[i] = floatToBf16(value);
    }
  }
  double operator[](int64_t i) const {
    if (format_ == Format::float32) return reinterpret_cast<const float*>(data_)[i];
    return bf16ToFloat(reinterpret_cast<const uint16_t*>(data_)[i]);
  }
  float* floats() { return reinterpret_cast<float*>(data_); }
  void* data() { return data_; }
  int64_t count() const { return count_; }
  bool intact() const {
    for (size_t i = 0; i < kGuard; ++i)
      if (data_[bytes() + i] != 0xa5) return false;
    return true;
  }

 private:
  static constexpr size_t kGuard = 256;
  size_t bytes() const { return size_t(count_) * (format_ == Format::float32 ? 4 : 2); }
  Format format_;
  int64_t count_;
  unsigned char* data_;
};

/** Scratch as large as the kernel asked for, poisoned, with sentinels. */
inline Buffer scratchOf(size_t bytes) { return Buffer(Format::float32, int64_t(bytes + 3) / 4); }

struct Counts {
  int64_t cases = 0, failures = 0;
};
inline Counts& counts() {
  static Counts all;
  return all;
}

__attribute__((format(printf, 2, 3))) inline void expect(bool good, const char* format, ...) {
  ++counts().cases;
  if (good) return;
  if (++counts().failures > 40) return;
  std::va_list arguments;
  va_start(arguments, format);
  std::printf("FAILED ");
  std::vprintf(format, arguments);
  std::printf("\n");
  va_end(arguments);
}

/** |y - reference| / |reference| (or `least`, where it is larger); NaN when any element of y is one. */
inline double relativeError(const Buffer& y, const std::vector<double>& reference, double least = 0) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    difference += (y[int64_t(i)] - reference[i]) * (y[int64_t(i)] - reference[i]);
    size += reference[i] * reference[i];
  }
  return std::sqrt(difference / (std::max(size, least * least) + 1e-30));
}

inline const char* nameOf(Format format) { return format == Format::float32 ? "float32" : "bfloat16"; }

void checkAttention(const Kernels& kernels, ThreadTeam& team, int threads);
void checkBytes(const Kernels& kernels, ThreadTeam& team, int threads);
void checkLinear(const Kernels& kernels, ThreadTeam& team, int threads);
void checkNextToken(const Kernels& kernels, ThreadTeam& team, int threads);
void checkSmall(const Kernels& kernels, ThreadTeam& team, int threads);
void checkSoftmax(const Kernels& kernels, ThreadTeam& team, int threads);
