// The CUDA backend; in the build for tests its emulation on the CPU.
#pragma once

#include <memory>

#include "../core/backend.h"

namespace onehead::cuda {

/** The device's name for users: 'cuda', or 'cuda-emulated'. */
extern const char* const deviceName;

struct CudaOptions {
  int index = 0;
  /** Uses cuBLASLt for large products if it is found; otherwise product.cu. */
  bool cublasLt = true;
};

/** Throws Error DEVICE_UNAVAILABLE, with the reason and what to do, if the device cannot be used. */
std::shared_ptr<Backend> makeCudaBackend(const CudaOptions& options);

}  // namespace onehead::cuda
