// Replaces the CUDA backend in builds without a CUDA compiler.
#include "../core/error.h"
#include "cuda_backend.h"
#include "probe.h"

namespace onehead::cuda {

const char* const deviceName = "cuda";

CudaProbe probeCuda() noexcept {
  CudaProbe probe;
  probe.reason = "this addon was built without CUDA";
  return probe;
}

std::shared_ptr<Backend> makeCudaBackend(const CudaOptions&) {
  throw Error("DEVICE_UNAVAILABLE",
              "This addon was built without CUDA. On Linux on x86-64 run `npm install @onehead/linux-x64-cuda`; in a "
              "clone build it where nvcc is installed; or use 'cpu'.");
}

}  // namespace onehead::cuda
