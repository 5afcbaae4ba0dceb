// Rows of 16-bit integers whose products have sums of 32 bits, without overflow and for any depth.
//
// A row's scale limits its Euclidean norm to 2^15.5, and each integer to 2^15 - 1. By Cauchy and Schwarz the sum of
// the products of two rows, or of any part of them, is then below 2^31. An element's rounding error is the row's norm
// / 2^15.5 / sqrt(12): at depth 512 0.00014 of the root mean square of the row, at 2,048 0.00028. (bfloat16 rounds each
// element by 0.001 of itself.)
#pragma once

#include "bytes.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

static inline I loadWords(const int32_t* p) { return (I) * (const UnalignedU*)p; }
static inline void storeWords(int32_t* p, I words) { *(UnalignedU*)p = (U)words; }

/** Quantizes a row, and returns its scale. */
static inline float quantizeRowInt16(const float* x, int64_t count, int16_t* q) {
  return quantizeRowTo(x, count, q, [=](float top) {
    constexpr float most = 32767.0f;
    if (top < 0x1p-110f) return most;  // counts as zero
    const F inverse = splat(1.0f / top);
    F squares = {};
    int64_t i = 0;
    for (; i + vectorWidth <= count; i += vectorWidth) {
      const F value = load(x + i) * inverse;
      squares += value * value;
    }
    if (i < count) {
      const F value = loadPart(x + i, count - i) * inverse;
      squares += value * value;
    }
    // 0.5% below 2^15.5, for errors of this sum; and rounding adds up to 1/2 to each element.
    const float limit = 46110.0f - 0.5f * __builtin_sqrtf(float(count));
    const float largest = limit / __builtin_sqrtf(sum(squares));
    return largest < most ? largest : most;
  });
}

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
