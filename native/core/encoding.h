// Quantized encodings of weights in files, and decoding them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace onehead {

/**
 * `plain`: elements of a DType. `int8` and `int16`: integers with one scale per group of elements, stored elsewhere
 * (CTranslate2). The others: ggml's blocks of 32 or 256 elements, which contain their scales.
 */
enum class Encoding : uint8_t { plain, int8, int16, q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k };

/** The encoding with this name, such as "q5_0". */
std::optional<Encoding> encodingNamed(std::string_view name);

/** The smallest unit that can be decoded: its elements and bytes. Not for `plain`. */
struct Block {
  int64_t elements;
  size_t bytes;
};
Block blockOf(Encoding encoding);

/** A multiple of every block's elements: decoding may begin at its multiples. */
constexpr int64_t decodingStep = 256;

/** Decodes whole blocks. `int8` and `int16` give integers without their scales. */
void decode(Encoding encoding, const std::byte* blocks, int64_t elements, float* to);

}  // namespace onehead
