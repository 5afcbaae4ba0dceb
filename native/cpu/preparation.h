// Makes the steps of a CPU program from the descriptions of its operations.
#pragma once

#include <dnnl.hpp>

#include "executable.h"
#include "kernels.h"

namespace onehead::cpu {

/** Adds to the executable what its plan asks for. Throws Error NOT_SUPPORTED, OUT_OF_MEMORY, or dnnl::error. */
void prepareOperations(CpuExecutable& executable, const Kernels& kernels, int threads, dnnl::engine& engine,
                       dnnl::stream& stream);

}  // namespace onehead::cpu
