// The operations that have exactly one kernel on each backend, with the operation's name. `withScratch`: the kernel
// needs scratch memory and declares how much. This list generates the declarations, each instruction set's table, and
// the preparation of both backends.
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
