// The small choices that operations and kernels share.
#pragma once

#include <cstdint>

namespace onehead {

enum class Activation : int32_t { none, gelu };
/** What each is: docs/design.md. */
enum class AttentionAlgorithm : int32_t { multiHead, multiQuery, multiQueryReshaped, memoryEfficient, splitKeyValue };

}  // namespace onehead
