// The CPU as a backend: our kernels for what is bound by memory, oneDNN for the big products.
#pragma once

#include <memory>
#include <string>

#include "../core/backend.h"
#include "kernels.h"

namespace onehead::cpu {

struct CpuOptions {
  int threads = 0;      // 0: the cores that this process may use
  std::string kernels;  // an instruction set by name, or empty for the best
};

/** Throws Error INVALID_ARGUMENT for options that this CPU cannot serve. */
std::shared_ptr<Backend> makeCpuBackend(const CpuOptions& options);
/** The kernels of devices that name none: those that ONEHEAD_CPU_KERNELS names in the environment, or the CPU's best.
 * Throws Error INVALID_ARGUMENT where the CPU has none of that name. */
const Kernels& defaultKernels();
/** Cores that this process may run on, hardware threads of one core counted once. */
int defaultThreads();

}  // namespace onehead::cpu
