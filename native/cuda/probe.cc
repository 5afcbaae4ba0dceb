#include "probe.h"

#include <cuda_runtime.h>

#include "cublas_lt.h"
#include "driver_lock.h"
#include "kernels/kernels.h"

namespace onehead::cuda {

namespace {

/** The oldest driver for CUDA 12 and for 13, by NVIDIA's table of compatible versions. */
constexpr int oldestDriver = CUDART_VERSION < 13000 ? 525 : 580;

std::string described(cudaError_t error) {
  switch (error) {
    case cudaErrorInsufficientDriver:
      return "the NVIDIA driver is too old for this addon; CUDA " + std::to_string(CUDART_VERSION / 1000) +
             " requires driver " + std::to_string(oldestDriver) + " or newer";
    case cudaErrorNoDevice:
      return "the driver reports no GPU";
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      return "this addon has no kernels for its architecture; it needs compute capability 8.0 or newer, and GPUs newer "
             "than the addon need a newer driver";
    default:
      return cudaGetErrorString(error);
  }
}

}  // namespace

std::string deviceProblem(int device) {
  const DriverLock lock;
  uint32_t answer = 0;
  void* memory = nullptr;
  Launcher launcher;
  cudaError_t error = cudaSetDevice(device);
  if (error == cudaSuccess) error = cudaStreamCreateWithFlags(&launcher.stream, cudaStreamNonBlocking);
  if (error == cudaSuccess) error = cudaMalloc(&memory, sizeof answer);
  if (error == cudaSuccess) error = fillBytes(memory, sizeof answer, 42, launcher);
  if (error == cudaSuccess)
    error = cudaMemcpyAsync(&answer, memory, sizeof answer, cudaMemcpyDeviceToHost, launcher.stream);
  if (error == cudaSuccess) error = cudaStreamSynchronize(launcher.stream);
  if (memory) cudaFree(memory);
  if (launcher.stream) cudaStreamDestroy(launcher.stream);
  cudaGetLastError();  // clears the error
  if (error != cudaSuccess) return described(error);
  return answer == 0x2a2a2a2a ? "" : "a test kernel returned a wrong result";
}

CudaDriver findDriver() {
  CudaDriver driver;
  cudaError_t error = cudaDriverGetVersion(&driver.version);
  if (error == cudaSuccess && driver.version == 0) {
    driver.reason = "no NVIDIA driver was found";
    return driver;
  }
  error = cudaGetDeviceCount(&driver.devices);
  if (error == cudaSuccess && driver.devices > 0) return driver;
  cudaGetLastError();
  driver.devices = 0;
  driver.reason = described(error == cudaSuccess ? cudaErrorNoDevice : error);
  return driver;
}

namespace {

void probe(CudaProbe& found) {
  const DriverLock lock;
  found.compiled = true;
  const CudaDriver driver = findDriver();
  found.driverVersion = driver.version;
  found.reason = driver.reason;
  if (driver.devices == 0) return;
  for (int i = 0; i < driver.devices; ++i) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
    found.devices.push_back({properties.name, properties.totalGlobalMem,
                             std::to_string(properties.major) + "." + std::to_string(properties.minor),
                             deviceProblem(i)});
    found.available |= found.devices.back().problem.empty();
  }
  if (!found.available) found.reason = found.devices.empty() ? "the GPUs do not respond" : found.devices.back().problem;
  found.cublasLt = CublasLt::find();
}

}  // namespace

CudaProbe probeCuda() noexcept {
  CudaProbe found;
  try {
    probe(found);
  } catch (...) {
    found.reason = "the process ran out of memory while detecting CUDA";
  }
  return found;
}

}  // namespace onehead::cuda
