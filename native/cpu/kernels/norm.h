// Mean and variance of a row, for layer norms.
#pragma once

#include "vector.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

struct Moments {
  float mean, scale;  // scale = 1 / sqrt(variance + epsilon)
};

template <typename T>
static inline Moments momentsOf(const T* x, int64_t width, float epsilon) {
  const int64_t vectorized = width / (2 * vectorWidth) * (2 * vectorWidth);
  F first = {}, second = {};
  for (int64_t i = 0; i < vectorized; i += 2 * vectorWidth) {
    first += load(x + i);
    second += load(x + i + vectorWidth);
  }
  float total = sum(first + second);
  for (int64_t i = vectorized; i < width; ++i) total += get(x + i);
  const float mean = total / float(width);
  first = second = F{};
  for (int64_t i = 0; i < vectorized; i += 2 * vectorWidth) {
    const F a = load(x + i) - splat(mean), b = load(x + i + vectorWidth) - splat(mean);
    first += a * a;
    second += b * b;
  }
  total = sum(first + second);
  for (int64_t i = vectorized; i < width; ++i) total += (get(x + i) - mean) * (get(x + i) - mean);
  return {mean, 1.0f / __builtin_sqrtf(total / float(width) + epsilon)};
}

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
