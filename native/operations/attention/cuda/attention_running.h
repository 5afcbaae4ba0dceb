// Streaming softmax state of kernels in which several lanes share a head's elements.
#pragma once

#include "attention.h"

namespace onehead::cuda {

/** Maximum score, sum of weights, and this lane's part of the weighted values. */
template <int Width>
struct Running {
  float maximum = -infinity, sum = 0, values[Width] = {};

  __device__ void rescale(float newMaximum) {
    const float factor = maximum == -infinity ? 0.0f : exp2Fast(maximum - newMaximum);
    maximum = newMaximum;
    sum *= factor;
#pragma unroll
    for (int i = 0; i < Width; ++i) values[i] *= factor;
  }

  /** Adds a key with the given weight, exp2(score - maximum). `scale` is the scale of an int8 value. */
  __device__ void add(float weight, const float (&value)[Width], float scale = 1) {
    sum += weight;
    weight *= scale;
#pragma unroll
    for (int i = 0; i < Width; ++i) values[i] = fmaf(weight, value[i], values[i]);
  }
};

/** Combines the states of a warp's lane groups; every group gets the result. */
template <int Lanes, int Width>
__device__ inline void combineGroups(Running<Width>& running) {
  float maximum = running.maximum;
#pragma unroll
  for (int mask = Lanes; mask < 32; mask *= 2) maximum = fmaxf(maximum, __shfl_xor_sync(allLanes, maximum, mask));
  if (maximum > -infinity) running.rescale(maximum);
#pragma unroll
  for (int mask = Lanes; mask < 32; mask *= 2) {
    running.sum += __shfl_xor_sync(allLanes, running.sum, mask);
#pragma unroll
    for (int i = 0; i < Width; ++i) running.values[i] += __shfl_xor_sync(allLanes, running.values[i], mask);
  }
}

/** Stores a warp's partial result after combineGroups: `size` values, the maximum score and the sum. The lanes of the
 * first group write; `chunk` is the index of a lane's first value. */
template <int Lanes, int Width>
__device__ inline void storePart(float* part, const Running<Width>& running, int lane, int chunk, int size) {
  if (lane < Lanes && chunk < size) {
#pragma unroll
    for (int i = 0; i < Width; ++i) part[chunk + i] = running.values[i];
  }
  if (lane == 0) {
    part[size] = running.maximum;
    part[size + 1] = running.sum;
  }
}

/** One column of combined partial results, and the maximum score and the sum of weights of all. */
struct Joined {
  float value = 0, maximum = -infinity, sum = 0;
};

/** Combines a column of at most `Most` partial results, all of which are loaded at once. */
template <int Most>
__device__ inline Joined joinAtOnce(const float* parts, int count, int size, int column) {
  const int part = int(partialSize(size));
  float2 states[Most];  // maximum score and sum
  float values[Most];
#pragma unroll
  for (int i = 0; i < Most; ++i) {
    states[i] = i < count ? *reinterpret_cast<const float2*>(parts + i * part + size) : make_float2(-infinity, 0.0f);
    values[i] = i < count ? parts[i * part + column] : 0.0f;
  }
  Joined joined;
#pragma unroll
  for (int i = 0; i < Most; ++i) joined.maximum = fmaxf(joined.maximum, states[i].x);
#pragma unroll
  for (int i = 0; i < Most; ++i) {
    const float factor = states[i].x == -infinity ? 0.0f : exp2Fast(states[i].x - joined.maximum);
    joined.sum = fmaf(states[i].y, factor, joined.sum);
    joined.value = fmaf(values[i], factor, joined.value);
  }
  return joined;
}

}  // namespace onehead::cuda
