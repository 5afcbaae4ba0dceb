// CUDA's half precision on the CPU.
#pragma once

#include "../../../core/dtype.h"

struct __half {
  uint16_t bits;
};
inline float __half2float(__half value) { return onehead::fromFloat16(value.bits); }
inline __half __float2half_rn(float value) { return {onehead::toFloat16(value)}; }
