// Detects CUDA on this machine, without throwing and without requiring a driver.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace onehead::cuda {

struct CudaDevice {
  std::string name;
  size_t memory = 0;  // bytes
  std::string computeCapability;
  std::string problem;  // why our kernels do not run on it; empty if they do
};

struct CudaProbe {
  bool compiled = false;   // this addon has kernels
  bool available = false;  // a device can be used
  std::string reason;      // why not; empty if available
  int driverVersion = 0;   // 13000 means 13.0; 0 without a driver
  std::vector<CudaDevice> devices;
  std::string cublasLt;  // the library's name; empty if it cannot be opened
};

/** Runs a kernel on every device. */
CudaProbe probeCuda() noexcept;

/** The driver's answers, without running anything on a device. */
struct CudaDriver {
  int version = 0;  // as in CudaProbe
  int devices = 0;
  std::string reason;  // why there are none
};
CudaDriver findDriver();

/** Runs a kernel on a device, to test driver and architecture. Empty if its result is right, otherwise the problem. */
std::string deviceProblem(int device);

}  // namespace onehead::cuda
