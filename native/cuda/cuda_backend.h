// The CUDA backend, or its emulation on the CPU in the build that tests use.
#pragma once

#include <memory>

#include "../core/backend.h"

namespace onehead::cuda {

/** What users call the device: 'cuda', or 'cuda-emulated'. */
extern const char* const deviceName;

struct CudaOptions {
  int index = 0;
  /** Large products by cuBLASLt where it is found; otherwise by our own kernel. */
  bool cublasLt = true;
};

/** Throws Error DEVICE_UNAVAILABLE, with the reason and what to do, where there is no such device. */
std::shared_ptr<Backend> makeCudaBackend(const CudaOptions& options);

}  // namespace onehead::cuda
