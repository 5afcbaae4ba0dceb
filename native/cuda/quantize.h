// Weights of 8 bits: from any source to rows of whole numbers, as they lie in memory, and a factor each.
#pragma once

#include "../core/backend.h"
#include "context.h"

namespace onehead::cuda {

/** See Backend::quantize. */
Backend::Quantized quantized(const Source& source, const Shape& shape, const std::shared_ptr<Context>& context);

}  // namespace onehead::cuda
