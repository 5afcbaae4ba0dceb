// The blocks of ggml, with the layout of ggml/src/ggml-quants.c. Numbers are little-endian; d and m are float16. Of a
// byte's two 4-bit elements, the low one is in the first half of the block, the high one in the second.
#include "encoding.h"

#include <array>
#include <cstring>

#include "dtype.h"

namespace onehead {

namespace {

struct Named {
  std::string_view name;
  Encoding encoding;
};
constexpr Named names[] = {{"int8", Encoding::int8}, {"int16", Encoding::int16}, {"q4_0", Encoding::q4_0},
                           {"q4_1", Encoding::q4_1}, {"q5_0", Encoding::q5_0},   {"q5_1", Encoding::q5_1},
                           {"q8_0", Encoding::q8_0}, {"q2_k", Encoding::q2_k},   {"q3_k", Encoding::q3_k},
                           {"q4_k", Encoding::q4_k}, {"q5_k", Encoding::q5_k},   {"q6_k", Encoding::q6_k}};

float half(const uint8_t* at) { return fromFloat16(uint16_t(at[0] | at[1] << 8)); }

/** 4 or 5 bits per element: d, m (if hasMinimum), the fifth bits (if hasFifth), the low four bits. */
template <bool hasFifth, bool hasMinimum>
void decodeSmall(const uint8_t* block, float* to) {
  const float d = half(block);
  const float m = hasMinimum ? half(block + 2) : 0.0f;
  block += hasMinimum ? 4 : 2;
  uint32_t fifth = 0;
  if constexpr (hasFifth) {
    std::memcpy(&fifth, block, 4);
    block += 4;
  }
  constexpr int middle = hasMinimum ? 0 : hasFifth ? 16 : 8;
  for (int i = 0; i < 16; ++i) {
    const int low = (block[i] & 15) | (hasFifth ? int(fifth >> i & 1) << 4 : 0);
    const int high = (block[i] >> 4) | (hasFifth ? int(fifth >> (i + 16) & 1) << 4 : 0);
    to[i] = float(low - middle) * d;
    to[i + 16] = float(high - middle) * d;
    if constexpr (hasMinimum) {
      to[i] += m;
      to[i + 16] += m;
    }
  }
}

void decodeQ8_0(const uint8_t* block, float* to) {
  const float d = half(block);
  for (int i = 0; i < 32; ++i) to[i] = float(int8_t(block[2 + i])) * d;
}

/** 16 groups of 16 elements of 2 bits, each with a 4-bit scale and a 4-bit minimum, times d and dmin. */
void decodeQ2K(const uint8_t* block, float* to) {
  const uint8_t* scales = block;
  const uint8_t* quants = block + 16;
  const float d = half(block + 80), minimum = half(block + 82);
  for (int run = 0; run < 16; ++run) {
    const float scale = d * float(scales[run] & 15), offset = minimum * float(scales[run] >> 4);
    // 32 bytes hold half a block: each pair of bits belongs to two neighbouring groups.
    const uint8_t* from = quants + run / 8 * 32 + run % 2 * 16;
    const int shift = run % 8 / 2 * 2;
    for (int i = 0; i < 16; ++i) to[run * 16 + i] = scale * float(from[i] >> shift & 3) - offset;
  }
}

/** 16 groups of 16 elements of 3 bits (the highest one inverted and stored apart), each with a 6-bit scale less 32. */
void decodeQ3K(const uint8_t* block, float* to) {
  const uint8_t* highest = block;
  const uint8_t* quants = block + 32;
  const uint8_t* packed = block + 96;
  const float d = half(block + 108);
  for (int run = 0; run < 16; ++run) {
    const int low = run < 8 ? packed[run] & 15 : packed[run - 8] >> 4;
    const int high = packed[8 + run % 4] >> run / 4 * 2 & 3;
    const float scale = d * float((low | high << 4) - 32);
    const uint8_t* from = quants + run / 8 * 32 + run % 2 * 16;
    const uint8_t* bits = highest + run % 2 * 16;
    const int shift = run % 8 / 2 * 2, bit = run / 2;
    for (int i = 0; i < 16; ++i)
      to[run * 16 + i] = scale * float((from[i] >> shift & 3) - (bits[i] >> bit & 1 ? 0 : 4));
  }
}

/** The 6-bit scale and minimum of group 0 to 7, packed into 12 bytes. */
std::array<uint8_t, 2> sixBits(const uint8_t* packed, int run) {
  if (run < 4) return {uint8_t(packed[run] & 63), uint8_t(packed[run + 4] & 63)};
  return {uint8_t((packed[run + 4] & 15) | packed[run - 4] >> 6 << 4),
          uint8_t(packed[run + 4] >> 4 | packed[run] >> 6 << 4)};
}

/** 8 groups of 32 elements of 4 bits, or of 5 with the fifth stored apart. Each group has a 6-bit scale and a 6-bit
 * minimum, times d and dmin. */
template <bool hasFifth>
void decodeQ45K(const uint8_t* block, float* to) {
  const float d = half(block), minimum = half(block + 2);
  const uint8_t* fifth = block + 16;
  const uint8_t* quants = block + (hasFifth ? 48 : 16);
  for (int run = 0; run < 8; ++run) {
    const auto [scale, offset] = sixBits(block + 4, run);
    const float times = d * float(scale), less = minimum * float(offset);
    const uint8_t* from = quants + run / 2 * 32;
    for (int i = 0; i < 32; ++i) {
      int value = run % 2 ? from[i] >> 4 : from[i] & 15;
      if constexpr (hasFifth) value += (fifth[i] >> run & 1) << 4;
      to[run * 32 + i] = times * float(value) - less;
    }
  }
}

/** 16 groups of 16 elements of 6 bits less 32, each with an int8 scale, times d. */
void decodeQ6K(const uint8_t* block, float* to) {
  const float d = half(block + 208);
  for (int run = 0; run < 16; ++run) {
    const int part = run / 8, row = run % 8 / 2, at = run % 2 * 16;
    const uint8_t* low = block + part * 64 + row % 2 * 32 + at;
    const uint8_t* high = block + 128 + part * 32 + at;
    const float scale = d * float(int8_t(block[192 + run]));
    for (int i = 0; i < 16; ++i) {
      const int value = (row < 2 ? low[i] & 15 : low[i] >> 4) | (high[i] >> row * 2 & 3) << 4;
      to[run * 16 + i] = scale * float(value - 32);
    }
  }
}

template <void (*one)(const uint8_t*, float*)>
void eachBlock(Block block, const uint8_t* from, int64_t elements, float* to) {
  for (int64_t done = 0; done < elements; done += block.elements, from += block.bytes) one(from, to + done);
}

}  // namespace

std::optional<Encoding> encodingNamed(std::string_view name) {
  for (const Named& one : names)
    if (one.name == name) return one.encoding;
  return std::nullopt;
}

Block blockOf(Encoding encoding) {
  switch (encoding) {
    case Encoding::plain:
      break;
    case Encoding::int8:
      return {1, 1};
    case Encoding::int16:
      return {1, 2};
    case Encoding::q4_0:
      return {32, 18};
    case Encoding::q4_1:
      return {32, 20};
    case Encoding::q5_0:
      return {32, 22};
    case Encoding::q5_1:
      return {32, 24};
    case Encoding::q8_0:
      return {32, 34};
    case Encoding::q2_k:
      return {256, 84};
    case Encoding::q3_k:
      return {256, 110};
    case Encoding::q4_k:
      return {256, 144};
    case Encoding::q5_k:
      return {256, 176};
    case Encoding::q6_k:
      return {256, 210};
  }
  return {1, 0};
}

void decode(Encoding encoding, const std::byte* blocks, int64_t elements, float* to) {
  const auto* from = reinterpret_cast<const uint8_t*>(blocks);
  const Block block = blockOf(encoding);
  switch (encoding) {
    case Encoding::plain:
      break;
    case Encoding::int8:
      for (int64_t i = 0; i < elements; ++i) to[i] = float(int8_t(from[i]));
      break;
    case Encoding::int16:
      for (int64_t i = 0; i < elements; ++i) to[i] = float(int16_t(from[2 * i] | from[2 * i + 1] << 8));
      break;
    case Encoding::q4_0:
      return eachBlock<decodeSmall<false, false>>(block, from, elements, to);
    case Encoding::q4_1:
      return eachBlock<decodeSmall<false, true>>(block, from, elements, to);
    case Encoding::q5_0:
      return eachBlock<decodeSmall<true, false>>(block, from, elements, to);
    case Encoding::q5_1:
      return eachBlock<decodeSmall<true, true>>(block, from, elements, to);
    case Encoding::q8_0:
      return eachBlock<decodeQ8_0>(block, from, elements, to);
    case Encoding::q2_k:
      return eachBlock<decodeQ2K>(block, from, elements, to);
    case Encoding::q3_k:
      return eachBlock<decodeQ3K>(block, from, elements, to);
    case Encoding::q4_k:
      return eachBlock<decodeQ45K<false>>(block, from, elements, to);
    case Encoding::q5_k:
      return eachBlock<decodeQ45K<true>>(block, from, elements, to);
    case Encoding::q6_k:
      return eachBlock<decodeQ6K>(block, from, elements, to);
  }
}

}  // namespace onehead
