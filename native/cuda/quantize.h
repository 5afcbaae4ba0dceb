// Quantizes weights from any source to row-major int8 with a scale for each row.
#pragma once

#include "../core/backend.h"
#include "context.h"

namespace onehead::cuda {

/** See Backend::quantize. */
Backend::Quantized quantized(const Source& source, const Shape& shape, const std::shared_ptr<Context>& context);

}  // namespace onehead::cuda
