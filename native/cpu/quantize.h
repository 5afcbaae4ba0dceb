// Quantizes weights to int8, in the panels that linearBytes reads.
#pragma once

#include "../core/backend.h"
#include "storage.h"

namespace onehead::cpu {

/** See Backend::quantize. */
Backend::Quantized quantized(const Source& source, const Shape& shape, const Kernels& kernels,
                             const std::shared_ptr<MemoryCounter>& counter);

}  // namespace onehead::cpu
