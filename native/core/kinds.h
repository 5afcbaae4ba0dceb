// Enumerations that operations and kernels share.
#pragma once

#include <cstdint>

namespace onehead {

/** Element types of tensors; see dtype.h. */
enum class DType : uint8_t { float32, float16, bfloat16, int32, uint8, int8 };

enum class Activation : int32_t { none, gelu };
/** docs/design.md describes the algorithms. */
enum class AttentionAlgorithm : int32_t { multiHead, multiQuery, multiQueryReshaped, memoryEfficient, splitKeyValue };

}  // namespace onehead
