// How files store weights in fewer bits than a number takes, and the numbers that these stand for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace onehead {

/**
 * `plain` is numbers of a DType. `int8` and `int16` are whole numbers of which each run has a scale that they are
 * divided by (CTranslate2). The others are ggml's blocks of 32 or 256 elements, which hold their scales.
 */
enum class Encoding : uint8_t { plain, int8, int16, q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k };

/** An encoding by its name, such as "q5_0". */
std::optional<Encoding> encodingNamed(std::string_view name);

/** A block: the least number of elements that can be read on its own, and its bytes. Not for `plain`. */
struct Block {
  int64_t elements;
  size_t bytes;
};
Block blockOf(Encoding encoding);

/** More elements than any block has, and a multiple of each: reading may begin at its multiples. */
constexpr int64_t decodingStep = 256;

/** The numbers of whole blocks. `int8` and `int16` give the whole numbers as they are: their scales lie elsewhere. */
void decode(Encoding encoding, const std::byte* blocks, int64_t elements, float* to);

}  // namespace onehead
