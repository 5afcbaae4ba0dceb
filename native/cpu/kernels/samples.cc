// Samples on their way from a file to a model: conversion of PCM, mixing of channels, and the check of levels.
//
// lib/audio/pcm.ts and lib/audio/mix.ts have the same computations in TypeScript. Both forms give the same bits, so
// this file is compiled without fused multiply-adds (sources.cmake), and sums have a fixed order.
#include "family.h"
#include "vector.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr bool bigEndianHost = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;

inline uint16_t swapped(uint16_t bits) { return __builtin_bswap16(bits); }
inline uint32_t swapped(uint32_t bits) { return __builtin_bswap32(bits); }
inline uint64_t swapped(uint64_t bits) { return __builtin_bswap64(bits); }

/** A number at any address. */
template <typename Number, typename Bits, bool swap>
inline Number at(const uint8_t* p) {
  Bits bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  if constexpr (swap) bits = swapped(bits);
  Number number;
  __builtin_memcpy(&number, &bits, sizeof number);
  return number;
}

template <bool swap>
struct Int16 {
  static constexpr int64_t size = 2;
  static inline float read(const uint8_t* p) { return float(at<int16_t, uint16_t, swap>(p)) * 0x1p-15f; }
};

template <bool bigEndian>
struct Int24 {
  static constexpr int64_t size = 3;
  static inline float read(const uint8_t* p) {
    constexpr int low = bigEndian ? 2 : 0, high = 2 - low;
    // In the upper bits, so that the sign is in its place.
    return float(int32_t(uint32_t(p[low]) << 8 | uint32_t(p[1]) << 16 | uint32_t(p[high]) << 24)) * 0x1p-31f;
  }
};

template <bool swap>
struct Int32 {
  static constexpr int64_t size = 4;
  static inline float read(const uint8_t* p) { return float(at<int32_t, uint32_t, swap>(p)) * 0x1p-31f; }
};

template <bool swap>
struct Float32 {
  static constexpr int64_t size = 4;
  static inline float read(const uint8_t* p) { return at<float, uint32_t, swap>(p); }
};

template <bool swap>
struct Float64 {
  static constexpr int64_t size = 8;
  static inline float read(const uint8_t* p) { return float(at<double, uint64_t, swap>(p)); }
};

/** With a constant number of channels, loads and stores of a loop are vectors. */
template <typename Coding, int64_t constant>
inline void convertChannels(const PcmConversion& c) {
  const int64_t channels = constant > 0 ? constant : c.channels, frame = channels * Coding::size;
  for (int64_t channel = 0; channel < channels; ++channel) {
    const uint8_t* __restrict from = static_cast<const uint8_t*>(c.bytes) + channel * Coding::size;
    float* __restrict to = c.samples[channel];
    for (int64_t i = 0; i < c.frames; ++i) to[i] = Coding::read(from + i * frame);
  }
}

template <typename Coding>
void convertAs(const PcmConversion& c) {
  if (c.channels == 1) return convertChannels<Coding, 1>(c);
  if (c.channels == 2) return convertChannels<Coding, 2>(c);
  convertChannels<Coding, 0>(c);
}

/** First all samples in order, since groups of three bytes of alternating channels are not loaded as vectors. */
template <typename Coding>
void convertInOrder(const PcmConversion& c) {
  if (c.channels == 1) return convertChannels<Coding, 1>(c);
  constexpr int64_t most = 2048;
  float ordered[most], *target = ordered, *parts[PcmConversion::maxChannels];
  const int64_t step = most / c.channels;
  for (int64_t begin = 0; begin < c.frames; begin += step) {
    const int64_t frames = min(step, c.frames - begin);
    const uint8_t* bytes = static_cast<const uint8_t*>(c.bytes) + begin * c.channels * Coding::size;
    convertChannels<Coding, 1>({c.coding, c.bigEndian, nullptr, bytes, 1, frames * c.channels, &target});
    for (int64_t i = 0; i < c.channels; ++i) parts[i] = c.samples[i] + begin;
    convertAs<Float32<false>>({c.coding, c.bigEndian, nullptr, ordered, c.channels, frames, parts});
  }
}

void convertBytes(const PcmConversion& c) {
  for (int64_t channel = 0; channel < c.channels; ++channel) {
    const uint8_t* __restrict from = static_cast<const uint8_t*>(c.bytes) + channel;
    float* __restrict to = c.samples[channel];
    for (int64_t i = 0; i < c.frames; ++i) to[i] = c.table[from[i * c.channels]];
  }
}

template <bool bigEndian>
void convertOrdered(const PcmConversion& c) {
  constexpr bool swap = bigEndian != bigEndianHost;
  switch (c.coding) {
    case PcmConversion::Coding::bytes:
      return convertBytes(c);
    case PcmConversion::Coding::int16:
      return convertAs<Int16<swap>>(c);
    case PcmConversion::Coding::int24:
      return convertInOrder<Int24<bigEndian>>(c);
    case PcmConversion::Coding::int32:
      return convertAs<Int32<swap>>(c);
    case PcmConversion::Coding::float32:
      return convertAs<Float32<swap>>(c);
    case PcmConversion::Coding::float64:
      return convertAs<Float64<swap>>(c);
  }
}

typedef double D __attribute__((vector_size(vectorWidth * 4)));
typedef float HalfF __attribute__((vector_size(vectorWidth * 2)));

/** Adds squares, which are exact in float64: sample i of all to lane i % lanes. `count` is a multiple unless last. */
inline void addSquares(const float* samples, int64_t count, double* sums) {
  constexpr int width = vectorWidth / 2, vectors = ChannelMix::lanes / width;
  D parts[vectors];
  __builtin_memcpy(parts, sums, sizeof parts);
  int64_t i = 0;
  for (; i + ChannelMix::lanes <= count; i += ChannelMix::lanes) {
    ONEHEAD_UNROLL(4)
    for (int v = 0; v < vectors; ++v) {
      HalfF values;
      __builtin_memcpy(&values, samples + i + v * width, sizeof values);
      const D wide = __builtin_convertvector(values, D);
      parts[v] += wide * wide;
    }
  }
  __builtin_memcpy(sums, parts, sizeof parts);
  for (int lane = 0; i < count; ++i, ++lane) sums[lane] += double(samples[i]) * double(samples[i]);
}

/** The mean of samples `begin` to `end`: a sum in float32, times a share in float64. */
inline void meanOf(const ChannelMix& m, int64_t begin, int64_t end) {
  float* __restrict mix = m.mix;
  const double share = 1.0 / double(m.channels);
  const float* __restrict first = m.samples[0];
  if (m.channels == 2) {
    const float* __restrict second = m.samples[1];
    for (int64_t i = begin; i < end; ++i) mix[i] = (first[i] + second[i]) * 0.5f;
    return;
  }
  for (int64_t i = begin; i < end; ++i) mix[i] = first[i];
  for (int64_t channel = 1; channel < m.channels; ++channel) {
    const float* __restrict samples = m.samples[channel];
    for (int64_t i = begin; i < end; ++i) mix[i] += samples[i];
  }
  for (int64_t i = begin; i < end; ++i) mix[i] = float(double(mix[i]) * share);
}

/** The sum of the channels' shares, rounded to float32 after each channel. */
inline void shared(const ChannelMix& m, int64_t begin, int64_t end) {
  float* __restrict mix = m.mix;
  for (int64_t i = begin; i < end; ++i) mix[i] = 0;
  for (int64_t channel = 0; channel < m.channels; ++channel) {
    const float* __restrict samples = m.samples[channel];
    const double share = m.shares[channel];
    if (!(share > 0)) continue;
    for (int64_t i = begin; i < end; ++i) mix[i] = float(double(mix[i]) + share * double(samples[i]));
  }
}

}  // namespace

void convertPcm(const PcmConversion& c) { c.bigEndian ? convertOrdered<true>(c) : convertOrdered<false>(c); }

void mixChannels(const ChannelMix& m) {
  // Samples of a step stay in the fastest cache.
  constexpr int64_t step = 64 * ChannelMix::lanes;
  for (int64_t begin = 0; begin < m.count; begin += step) {
    const int64_t end = min(begin + step, m.count);
    m.shares ? shared(m, begin, end) : meanOf(m, begin, end);
    for (int64_t i = 0; i <= m.channels; ++i)
      addSquares((i < m.channels ? m.samples[i] : m.mix) + begin, end - begin, m.squares + i * ChannelMix::lanes);
  }
  for (int64_t i = 0; i <= m.channels; ++i) {
    const double* lane = m.squares + i * ChannelMix::lanes;
    m.powers[i] = ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
  }
}

bool withinLevel(const float* samples, int64_t count, float level) {
  int outside = 0;
  for (int64_t i = 0; i < count; ++i) outside |= !(__builtin_fabsf(samples[i]) <= level);
  return outside == 0;
}

}  // namespace onehead::cpu::ONEHEAD_ISA
