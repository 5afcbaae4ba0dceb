// Stateless Gumbel noise: a hash of (seed, position, token), so that sampling is reproducible on every device.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/everywhere.h"

namespace onehead {
namespace {

/** MurmurHash3's finalizer: every bit of the input changes every bit of the result with probability 1/2. */
ONEHEAD_EVERYWHERE inline uint32_t mixBits(uint32_t x) {
  x ^= x >> 16;
  x *= 0x85ebca6bu;
  x ^= x >> 13;
  x *= 0xc2b2ae35u;
  return x ^ x >> 16;
}

ONEHEAD_EVERYWHERE inline uint32_t noiseKey(int32_t seed, int64_t position) {
  return mixBits(mixBits(uint32_t(seed) + 0x9e3779b9u) ^ (uint32_t(position) * 0x9e3779b9u + 0x7f4a7c15u));
}

/** -log(-log(u)), u = (the hash's high 24 bits + 1/2) / 2^24. */
ONEHEAD_EVERYWHERE inline float gumbelNoise(uint32_t key, int64_t token) {
  const uint32_t bits = mixBits(key ^ (uint32_t(token) * 0x85ebca6bu + 0x165667b1u));
  const double u = (double(bits >> 8) + 0.5) * 0x1p-24;
  return float(-::log(-::log(u)));
}

/** Bounds of gumbelNoise. */
constexpr float minNoise = -2.86f, maxNoise = 17.33f;

}  // namespace
}  // namespace onehead
