// Enumerations that operations and kernels share.
#pragma once

#include <cstdint>

namespace onehead {

/** Element types of tensors; see dtype.h. */
enum class DType : uint8_t { float32, float16, bfloat16, int32, uint8, int8 };

enum class Activation : int32_t { none, gelu };
/** docs/design.md describes the algorithms. */
enum class AttentionAlgorithm : int32_t { multiHead, multiQuery, multiQueryReshaped, memoryEfficient, splitKeyValue };

/** GPU only: a range that a later kernel of the program reads and none writes. A kernel starts loading it into the L2
 * cache while it waits itself. */
struct Prefetch {
  const void* data = nullptr;  // aligned to 16 bytes
  int64_t bytes = 0;           // a multiple of 16
};

}  // namespace onehead
