// What the CPU backend supports.
#pragma once

#include "../core/capabilities.h"

namespace onehead::cpu {

inline Capabilities capabilities() {
  return {.device = "cpu",
          .title = "the CPU",
          .types = {DType::float32, DType::bfloat16},
          .headSizes = {.minimum = 1, .maximum = 256, .step = 1},
          .constantWeights = true,
          .ownWeightLayout = true};
}

}  // namespace onehead::cpu
