#include <cuda_runtime.h>
#include <dlfcn.h>

#include "probe.h"

namespace onehead::cuda {

namespace {

/** Proves that a kernel of this addon runs on the device: driver and architecture fit. */
__global__ void answerKernel(int* answer) { *answer = 42; }

/** Empty when the device runs our kernels, else why not. */
std::string tryKernel(int device) {
  int *memory = nullptr, answer = 0;
  cudaError_t error = cudaSetDevice(device);
  if (error == cudaSuccess) error = cudaMalloc(&memory, sizeof(int));
  if (error == cudaSuccess) {
    answerKernel<<<1, 1>>>(memory);
    error = cudaGetLastError();
  }
  if (error == cudaSuccess) error = cudaMemcpy(&answer, memory, sizeof(int), cudaMemcpyDeviceToHost);
  if (memory) cudaFree(memory);
  if (error != cudaSuccess) return cudaGetErrorString(error);
  return answer == 42 ? "" : "a test kernel gave a wrong answer";
}

std::string findCublasLt() {
  for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"}) {
    if (void* library = dlopen(name, RTLD_LAZY | RTLD_LOCAL)) {
      dlclose(library);
      return name;
    }
  }
  return "";
}

void probe(CudaProbe& found) {
  found.compiled = true;
  int count = 0;
  cudaError_t error = cudaDriverGetVersion(&found.driverVersion);
  if (error == cudaSuccess && found.driverVersion == 0) {
    found.reason = "no NVIDIA driver was found";
    return;
  }
  error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) {
    cudaGetLastError();  // forget it: the next call starts clean
    found.reason = error == cudaErrorInsufficientDriver ? "the NVIDIA driver is older than this addon needs"
                                                        : std::string(cudaGetErrorString(error));
    return;
  }
  if (count == 0) found.reason = "the driver sees no GPU";
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
    found.devices.push_back({properties.name, properties.totalGlobalMem,
                             std::to_string(properties.major) + "." + std::to_string(properties.minor)});
    std::string failure = tryKernel(i);
    if (failure.empty())
      found.available = true;
    else
      found.reason = failure;
  }
  if (found.available) found.reason.clear();
  found.cublasLt = findCublasLt();
}

}  // namespace

CudaProbe probeCuda() noexcept {
  CudaProbe found;
  try {
    probe(found);
  } catch (...) {
    found.reason = "looking for CUDA ran out of memory";
  }
  return found;
}

}  // namespace onehead::cuda
