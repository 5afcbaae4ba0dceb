// Stands in for the CUDA backend where no CUDA compiler built it.
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
              "This addon was built without CUDA, so it has no CUDA device; install the CUDA toolkit (nvcc) and run "
              "`npm rebuild onehead --build-from-source`, or use 'cpu'.");
}

}  // namespace onehead::cuda
