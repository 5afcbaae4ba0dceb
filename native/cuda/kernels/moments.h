// The mean of a row and the squares about it, for norms whose threads hold the row in registers as float4.
#pragma once

#include "platform.h"

namespace onehead::cuda {

/** The sum of a thread's elements. */
template <int Count>
__device__ inline float sumOf(const float4 (&values)[Count]) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < Count; ++i) sum += (values[i].x + values[i].y) + (values[i].z + values[i].w);
  return sum;
}

/** Subtracts the mean from a thread's elements, and returns the sum of their squares. Vector i belongs to the row if
 * first + i * step is less than `fours`. */
template <int Count>
__device__ inline float subtractMean(float4 (&values)[Count], float mean, int first, int step, int fours) {
  float squares = 0;
#pragma unroll
  for (int i = 0; i < Count; ++i) {
    float4& four = values[i];
    four = make_float4(four.x - mean, four.y - mean, four.z - mean, four.w - mean);
    if (first + i * step < fours) squares += (four.x * four.x + four.y * four.y) + (four.z * four.z + four.w * four.w);
  }
  return squares;
}

}  // namespace onehead::cuda
