// The CPU backend: our kernels for memory-bound operations, oneDNN for large products.
#pragma once

#include <memory>
#include <string>

#include "../core/backend.h"
#include "kernels.h"

namespace onehead::cpu {

struct CpuOptions {
  int threads = 0;      // 0: one for each core that this process may use
  std::string kernels;  // name of an instruction set; empty for the best one
};

/** Throws Error INVALID_ARGUMENT if this CPU does not support the options. */
std::shared_ptr<Backend> makeCpuBackend(const CpuOptions& options);
/** The kernels of devices whose options name none: those that the environment variable ONEHEAD_CPU_KERNELS names, or
 * the best. Throws Error INVALID_ARGUMENT if this CPU does not have them. */
const Kernels& defaultKernels();
/** The number of cores that this process may run on, not counting hardware threads. */
int defaultThreads();

}  // namespace onehead::cpu
