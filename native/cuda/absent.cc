// Stands in for the .cu files where no CUDA compiler built them.
#include "probe.h"

namespace onehead::cuda {

CudaProbe probeCuda() noexcept {
  CudaProbe probe;
  probe.reason = "this addon was built without CUDA";
  return probe;
}

}  // namespace onehead::cuda
