// What products with weights in panels have in common: rows of x as float32, and the epilogue of a panel's outputs.
#pragma once

#include "cpu/kernels/family.h"
#include "cpu/kernels/norm.h"
#include "epilogue.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

/** Row `row` as float32, normalized if there is a norm, in `into`. */
template <typename X>
static inline const float* floatRow(const LinearArguments& a, int64_t row, float* into) {
  const int64_t begin = a.xBegin + row * a.xStride;
  if (begin < 0 || begin > a.xElements - a.depth) {
    const X* all = static_cast<const X*>(a.x);
    for (int64_t i = 0; i < a.depth; ++i)
      into[i] = begin + i >= 0 && begin + i < a.xElements ? get(all + begin + i) : 0.0f;
    return into;
  }
  const X* x = static_cast<const X*>(a.x) + begin;
  int64_t i = 0;
  if (a.normWeight) {
    const Moments moments = momentsOf(x, a.depth, a.epsilon);
    const F mean = splat(moments.mean), scale = splat(moments.scale);
    for (; i + vectorWidth <= a.depth; i += vectorWidth)
      store(into + i, (load(x + i) - mean) * scale * load(a.normWeight + i) + load(a.normBias + i));
    for (; i < a.depth; ++i) into[i] = (get(x + i) - moments.mean) * moments.scale * a.normWeight[i] + a.normBias[i];
    return into;
  }
  for (; i + vectorWidth <= a.depth; i += vectorWidth) store(into + i, load(x + i));
  for (; i < a.depth; ++i) into[i] = get(x + i);
  return into;
}

/** The same for either type of x. */
static inline const float* floatRow(const LinearArguments& a, int64_t row, float* into) {
  return a.xType == DType::bfloat16 ? floatRow<Bf16>(a, row, into) : floatRow<float>(a, row, into);
}

/** Stores integerPanelRows columns (or `count`) of one row. */
template <typename Y>
static inline void finish(const LinearArguments& a, const F* values, int64_t row, int64_t column, int64_t count) {
  for (int i = 0; i * vectorWidth < count; ++i)
    finishVector<Y>(a, values[i], row, column + i * vectorWidth, min(vectorWidth, count - i * vectorWidth));
}

/** Scales and stores one row's values of one panel. */
static inline void storePanel(const LinearArguments& a, const F* sums, F factor, int64_t row, int64_t panel) {
  const int64_t column = panel * integerPanelRows, count = min(integerPanelRows, a.columns - column);
  F values[panelVectors];
  for (int i = 0; i < panelVectors; ++i) values[i] = sums[i] * factor * load(a.scales + column + i * vectorWidth);
  if (a.yType == DType::bfloat16) {
    finish<Bf16>(a, values, row, column, count);
  } else {
    finish<float>(a, values, row, column, count);
  }
}

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
