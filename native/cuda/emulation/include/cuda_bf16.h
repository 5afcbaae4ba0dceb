// CUDA's bfloat16 on the CPU.
#pragma once

#include "../../../core/dtype.h"

struct __nv_bfloat16 {
  uint16_t bits;
};
inline float __bfloat162float(__nv_bfloat16 value) { return onehead::fromBfloat16(value.bits); }
inline __nv_bfloat16 __float2bfloat16_rn(float value) { return {onehead::toBfloat16(value)}; }
