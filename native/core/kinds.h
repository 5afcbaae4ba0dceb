// The small choices that operations and kernels share.
#pragma once

#include <cstdint>

namespace onehead {

/** Elements of tensors; dtype.h says more of them. */
enum class DType : uint8_t { float32, float16, bfloat16, int32, uint8, int8 };

enum class Activation : int32_t { none, gelu };
/** What each is: docs/design.md. */
enum class AttentionAlgorithm : int32_t { multiHead, multiQuery, multiQueryReshaped, memoryEfficient, splitKeyValue };

}  // namespace onehead
