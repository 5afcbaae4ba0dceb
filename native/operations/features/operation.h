// The description of log-mel features. ../operations.h explains the letters of shapes.
#pragma once

#include <optional>

#include "arguments.h"
#include "core/capabilities.h"
#include "core/kinds.h"
#include "core/tensor.h"

namespace onehead {

/** samples [B, (frames - 1) * hop + fftSize] -> features [B, mels, frames]; peak [B] is read and updated. */
struct LogMel {
  Tensor samples, window, filters, peak, y;
  int64_t hop;
  void tensors(auto visit) const { visit(samples, window, filters, peak, y); }
  void written(auto visit) const { visit(y, peak); }
  Reasons notSupported(const Capabilities& device) const;
};

#define ONEHEAD_FEATURES_OPERATIONS(operation) ONEHEAD_FEATURES_KERNELS(operation, operation)

}  // namespace onehead
