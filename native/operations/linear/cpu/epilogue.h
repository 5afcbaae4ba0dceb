// The epilogue of products: what is done to sums before they are stored.
#pragma once

#include "cpu/kernels/family.h"
#include "cpu/kernels/math.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

/** gelu(x), as exact as a result of type Y can be. */
template <typename Y>
inline F geluOf(F x) {
  if constexpr (sizeof(Y) == sizeof(float)) return gelu(x);
  return geluCoarse(x);
}

/** Applies bias, activation and residual to `count` (at most vectorWidth) sums, and stores them as y[row][column ...].
 * */
template <typename Y>
inline void finishVector(const LinearArguments& a, F value, int64_t row, int64_t column, int64_t count) {
  const bool fullVector = count == vectorWidth;
  const float* residual = a.residual ? a.residual + row * a.columns + column : nullptr;
  Y* y = static_cast<Y*>(a.y) + row * a.columns + column;
  if (a.bias) value += fullVector ? load(a.bias + column) : loadPart(a.bias + column, count);
  if (a.activation == Activation::gelu) value = geluOf<Y>(value);
  if (residual) value += fullVector ? load(residual) : loadPart(residual, count);
  if (fullVector) {
    store(y, value);
  } else {
    storePart(y, value, count);
  }
}

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
