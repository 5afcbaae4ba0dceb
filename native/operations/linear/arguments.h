// What a product gives to the kernels of others, on either backend.
#pragma once

#include "operations/normalization/arguments.h"

namespace onehead {

struct Linear;

/** The norm before a product, to `yType`; where its y lies, the caller says. */
LayerNormArguments normOf(const Addresses& p, const Linear& o, DType yType);

}  // namespace onehead
