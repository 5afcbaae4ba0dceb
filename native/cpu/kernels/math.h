// Elementary functions on vectors. The polynomials are minimax fits with the stated errors.
#pragma once

#include "vector.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr float log2E = 1.44269504088896341f;

/**
 * 2^x for x <= 127; below about 2^-126 the result is zero or at most 2^-126. Relative error 1e-7, or 8e-5 if `Coarse`
 * (enough if the result becomes bfloat16). NaN stays NaN. The result is multiplied by Factor, a power of 2.
 */
template <bool Coarse = false, int Factor = 1>
static inline F exp2(F x) {
  x = max(splat(-126.0f), x);
#if defined(__AVX512DQ__)
  if constexpr (Coarse) {
    // The same polynomial around 1/2: one instruction takes the fraction of x, another multiplies by 2^floor(x).
    const F r = (F)_mm512_reduce_ps((__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    F p = splat(0.07802452189318662f * Factor);
    p = p * r + splat(0.2260671606756121f * Factor);
    p = p * r + splat(0.6958335107342477f * Factor);
    p = p * r + splat(0.9999252091081147f * Factor);
    return (F)_mm512_scalef_ps((__m512)p, (__m512)x);
  }
#endif
#if defined(__AVX512F__)
  const F integer = (F)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  // Adding it leaves the nearest integer in the low bits, with the bias of an exponent.
  const F shift = splat(0x1.8p23f + 127);
  const F shifted = x + shift;
  const F integer = shifted - shift;
#endif
  const F r = x - integer;
  F p;
  if constexpr (Coarse) {
    p = splat(0.0551716685295105f * Factor);
    p = p * r + splat(0.2426111251115799f * Factor);
    p = p * r + splat(0.6932609677314758f * Factor);
    p = p * r + splat(0.9999280571937561f * Factor);
  } else {
    p = splat(0.001327647129073739f * Factor);
    p = p * r + splat(0.009675540961325169f * Factor);
    p = p * r + splat(0.05550713092088699f * Factor);
    p = p * r + splat(0.24022120237350464f * Factor);
    p = p * r + splat(0.6931469440460205f * Factor);
    p = p * r + splat(1.0f * Factor);
  }
#if defined(__AVX512F__)
  return (F)_mm512_scalef_ps((__m512)p, (__m512)integer);
#else
  return p * (F)((U)shifted << 23);  // not a sum of bits, which would make numbers of some NaN
#endif
}

/** e^x for x <= 0, relative error 2e-7. */
static inline F expNegative(F x) {
  x = max(splat(-87.0f), x);
  // x log2(e) in two parts, so that its rounding error does not grow with x.
  const F high = x * splat(log2E);
  const F low = fused(x, splat(log2E), -high) + x * splat(1.92596299e-8f);
  return exp2(high) * (low * splat(0.693147181f) + splat(1.0f));
}
static inline float expNegative(float x) { return expNegative(splat(x))[0]; }

/** x (1 + erf(x / sqrt 2)) / 2, absolute error below 4e-7 |x|: Abramowitz and Stegun 7.1.26 for erfc. */
static inline F gelu(F x) {
  const F size = max(x, -x);
  const F t = splat(1.0f) / (splat(1.0f) + splat(0.3275911f * 0.70710678118654752f) * size);
  F p = splat(1.061405429f);
  p = p * t + splat(-1.453152027f);
  p = p * t + splat(1.421413741f);
  p = p * t + splat(-0.284496736f);
  p = p * t + splat(0.254829592f);
  const F half = splat(0.5f) * x * (p * t * expNegative(splat(-0.5f) * x * x));  // x erfc(|x| / sqrt 2) / 2
  return x < F{} ? half : x - half;
}

/**
 * The same with an absolute error below 1e-4 |x|, a 40th of the rounding of x to bfloat16, in half the instructions: x
 * times the logistic function of x P(x^2), where P is fitted to the logit of the normal distribution.
 */
static inline F geluCoarse(F x) {
  const F square = min(splat(30.0f), x * x);
  F p = splat(-0.00091163518f);
  p = p * square + splat(0.10617868602f);
  p = p * square + splat(2.30172634125f);
  const F denominator = splat(1.0f) + exp2<true>(min(splat(126.0f), -x * p));
#if defined(__AVX512F__)
  return x * (F)_mm512_rcp14_ps((__m512)denominator);
#else
  return x / denominator;
#endif
}

/** log10 of a positive normal number, error 1e-7. */
static inline F log10Positive(F x) {
  // x = 2^n (1 + t) with sqrt(1/2) <= 1 + t < sqrt(2)
  const I bits = (I)x - splatInteger(0x3f3504f3);
  const F n = __builtin_convertvector(bits >> 23, F);
  const F t = (F)((bits & splatInteger(0x007fffff)) + splatInteger(0x3f3504f3)) - splat(1.0f);
  F p = splat(0.12583699822425842f);
  p = p * t + splat(-0.20726974308490753f);
  p = p * t + splat(0.21571561694145203f);
  p = p * t + splat(-0.23894482851028442f);
  p = p * t + splat(0.28791624307632446f);
  p = p * t + splat(-0.3607036769390106f);
  p = p * t + splat(0.48091062903404236f);
  p = p * t + splat(-0.7213473320007324f);
  p = p * t + splat(1.4426950216293335f);
  return (p * t + n) * splat(0.301029995663981f);
}

/** The parts of a softmax: exp(x - top) / total. */
struct SoftmaxParts {
  float top, total;
};
static inline SoftmaxParts softmaxParts(const float* x, int64_t count) {
  F highest = splat(-infinity);
  int64_t i = 0;
  for (; i + vectorWidth <= count; i += vectorWidth) highest = max(load(x + i), highest);
  float top = maxLane(highest);
  for (; i < count; ++i) top = x[i] > top ? x[i] : top;
  F sums = {};
  for (i = 0; i + vectorWidth <= count; i += vectorWidth) sums += expNegative(load(x + i) - splat(top));
  float total = sum(sums);
  for (; i < count; ++i) total += expNegative(x[i] - top);
  return {top, total};
}

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
