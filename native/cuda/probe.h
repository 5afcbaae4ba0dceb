// What this machine has of CUDA, found without throwing and without needing a driver.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace onehead::cuda {

struct CudaDevice {
  std::string name;
  size_t memory = 0;  // bytes
  std::string computeCapability;
  std::string problem;  // why our kernels do not run there; empty when they do
};

struct CudaProbe {
  bool compiled = false;   // kernels are in this addon
  bool available = false;  // a device can be used
  std::string reason;      // why not, in words; empty when available
  int driverVersion = 0;   // as CUDA counts: 13000 is 13.0; 0 without a driver
  std::vector<CudaDevice> devices;
  std::string cublasLt;  // the library's name when it opens, else empty
};

/** Starts a kernel on every device. */
CudaProbe probeCuda() noexcept;

/** What the driver says, with nothing started on any device. */
struct CudaDriver {
  int version = 0;  // as CUDA counts; 0 without a driver
  int devices = 0;
  std::string reason;  // why there are none, in words
};
CudaDriver findDriver();

/** Starts a kernel on a device: driver and architecture fit. Empty when its answer is right, else why not. */
std::string deviceProblem(int device);

}  // namespace onehead::cuda
