// What a lane knows of the keys that it has seen, in kernels whose lanes hold a part of a head's elements each.
#pragma once

#include "attention.h"

namespace onehead::cuda {

/** Highest score, sum of weights and this lane's part of the weighted values. */
template <int Width>
struct Running {
  float highest = -infinity, sum = 0, values[Width] = {};

  __device__ void rescale(float above) {
    const float factor = highest == -infinity ? 0.0f : exp2Fast(highest - above);
    highest = above;
    sum *= factor;
#pragma unroll
    for (int i = 0; i < Width; ++i) values[i] *= factor;
  }
};

/** Adds up what the lane groups of a warp have. */
template <int Lanes, int Width>
__device__ inline void combineGroups(Running<Width>& running) {
  float highest = running.highest;
#pragma unroll
  for (int mask = Lanes; mask < 32; mask *= 2) highest = fmaxf(highest, __shfl_xor_sync(wholeWarp, highest, mask));
  if (highest > -infinity) running.rescale(highest);
#pragma unroll
  for (int mask = Lanes; mask < 32; mask *= 2) {
    running.sum += __shfl_xor_sync(wholeWarp, running.sum, mask);
#pragma unroll
    for (int i = 0; i < Width; ++i) running.values[i] += __shfl_xor_sync(wholeWarp, running.values[i], mask);
  }
}

/** Stores a warp's part of a row behind combineGroups, from the lanes of its first group: `size` values, the highest
 * score and the sum. `chunk` is where this lane's values begin. */
template <int Lanes, int Width>
__device__ inline void storePart(float* part, const Running<Width>& running, int lane, int chunk, int size) {
  if (lane < Lanes && chunk < size) {
#pragma unroll
    for (int i = 0; i < Width; ++i) part[chunk + i] = running.values[i];
  }
  if (lane == 0) {
    part[size] = running.highest;
    part[size + 1] = running.sum;
  }
}

}  // namespace onehead::cuda
