// The operations that are one kernel of their own name on each backend, and what these take. `withScratch`: the kernel
// works in scratch memory, and says how much it wants. Declarations, each instruction set's table and the preparation
// of both backends are made from this list.
#pragma once

#include "alignment/arguments.h"
#include "attention/arguments.h"
#include "decoding/arguments.h"
#include "features/arguments.h"
#include "normalization/arguments.h"
#include "rows/arguments.h"

// clang-format off
#define ONEHEAD_KERNELS(kernel, withScratch) \
  ONEHEAD_FEATURES_KERNELS(kernel, withScratch) \
  ONEHEAD_ROWS_KERNELS(kernel, withScratch) \
  ONEHEAD_NORMALIZATION_KERNELS(kernel, withScratch) \
  ONEHEAD_DECODING_KERNELS(kernel, withScratch) \
  ONEHEAD_ALIGNMENT_KERNELS(kernel, withScratch)
// clang-format on
