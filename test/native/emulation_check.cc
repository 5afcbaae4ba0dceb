// Checks of the emulation itself: each kernel here is wrong in one way that a GPU may forgive today and not tomorrow,
// and the emulation has to see it. The first ones are right, so that it does not cry wolf.
#include <cmath>
#include <cstdio>
#include <thread>
#include <vector>

#include "../../native/cuda/kernels/numeric.h"

using namespace onehead::cuda;

namespace {

constexpr int threads = 64;

__global__ void rotate(float* y) {
  ONEHEAD_SHARED(float, shared);
  shared[threadIdx.x] = float(threadIdx.x);
  __syncthreads();
  y[threadIdx.x] = shared[(threadIdx.x + 1) % threads];
}
__global__ void rotateWithoutBarrier(float* y) {
  ONEHEAD_SHARED(float, shared);
  shared[threadIdx.x] = float(threadIdx.x);
  y[threadIdx.x] = shared[(threadIdx.x + 1) % threads];
}
/** Lane 0 waits for the block while its warp waits for it. */
__global__ void barrierNotForAll(float* y) {
  if (threadIdx.x == 0) __syncthreads();
  y[threadIdx.x] = warpSum(1.0f);
  if (threadIdx.x != 0) __syncthreads();
}
__global__ void copyAndWait(float* y, const float* x, bool waits) {
  ONEHEAD_SHARED(float, shared);
  if (threadIdx.x % 4 == 0) copyAsync16(shared + threadIdx.x, x + threadIdx.x, 16);
  commitCopies();
  if (waits) waitForCopies<0>();
  __syncthreads();
  y[threadIdx.x] = shared[threadIdx.x];
}
__global__ void writeBehind(float* y, int at) { y[at] = 1; }
__global__ void writeBehindShared(float* y) {
  ONEHEAD_SHARED(float, shared);
  shared[threads] = 1;
  y[threadIdx.x] = 0;
}
__global__ void sumOfWarp(float* y) { y[threadIdx.x] = warpSum(float(threadIdx.x)); }
__global__ void readUnwritten(float* y) {
  ONEHEAD_SHARED(float, shared);
  y[threadIdx.x] = shared[threadIdx.x];
}

__global__ void loadGlobalFromShared(float* y) {
  ONEHEAD_SHARED(float, shared);
  shared[threadIdx.x] = 1;
  y[threadIdx.x] = loadFresh(shared + threadIdx.x);
}

__global__ void loadMisaligned(float* y) { y[threadIdx.x] = float(loadOnce16(y + 1).x); }

int failures = 0;

void expect(bool fine, const char* what) {
  if (!fine) ++failures;
  std::printf("%s %s\n", fine ? "ok  " : "FAIL", what);
}

/** What a kernel left in `count` floats, and whether the stream failed. Each has a stream of its own: failures stick.
 */
struct Result {
  std::vector<float> y;
  bool failed;
};
template <class... Parameters>
Result run(void (*kernel)(float*, Parameters...), size_t sharedBytes, std::type_identity_t<Parameters>... rest) {
  Launcher launcher;
  cudaStreamCreateWithFlags(&launcher.stream, cudaStreamNonBlocking);
  void* memory = nullptr;
  cudaMalloc(&memory, threads * sizeof(float));
  launch(launcher, kernel, dim3(1), dim3(threads), sharedBytes, static_cast<float*>(memory), rest...);
  Result result{std::vector<float>(threads), cudaStreamSynchronize(launcher.stream) != cudaSuccess};
  std::copy_n(static_cast<float*>(memory), threads, result.y.begin());
  cudaFree(memory);
  cudaStreamDestroy(launcher.stream);
  return result;
}

bool anyNaN(const std::vector<float>& values) {
  for (float value : values)
    if (std::isnan(value)) return true;
  return false;
}

/** How a capture ends during which another thread calls this. */
template <class Call>
cudaError_t captureBeside(Call call) {
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed);
  std::thread(call).join();
  cudaGraph_t graph = nullptr;
  const cudaError_t error = cudaStreamEndCapture(stream, &graph);
  if (graph) cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
  return error;
}

void checkCaptures() {
  cudaStream_t other = nullptr, gone = nullptr;
  cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
  cudaStreamCreateWithFlags(&gone, cudaStreamNonBlocking);
  void *host = nullptr, *memory = nullptr;
  cudaHostAlloc(&host, 64, cudaHostAllocMapped);
  cudaMalloc(&memory, 64);
  cudaMemPoolProps properties{};
  cudaMemPool_t pool = nullptr;
  cudaMemPoolCreate(&pool, &properties);
  expect(captureBeside([&] { cudaStreamSynchronize(other); }) == cudaSuccess,
         "a wait for one stream spoils no capture");
  auto spoils = [](const char* what, auto call) {
    expect(captureBeside(call) == cudaErrorStreamCaptureInvalidated, what);
  };
  spoils("freeing pinned memory spoils captures of other threads", [&] { cudaFreeHost(host); });
  spoils("freeing device memory spoils captures", [&] { cudaFree(memory); });
  spoils("destroying a pool spoils captures", [&] { cudaMemPoolDestroy(pool); });
  spoils("destroying a stream spoils captures", [&] { cudaStreamDestroy(gone); });
  spoils("waiting for the device spoils captures", [] { cudaDeviceSynchronize(); });
  expect(captureBeside([] {}) == cudaSuccess, "and the next capture is whole again");
  cudaStreamDestroy(other);
}

}  // namespace

int main() {
  constexpr size_t shared = threads * sizeof(float);
  std::vector<float> x(threads, 3.0f);
  const Result rotated = run(rotate, shared);
  expect(!rotated.failed && rotated.y[0] == 1 && rotated.y[threads - 1] == 0, "a barrier shows what others wrote");
  expect(run(sumOfWarp, 0).y[5] == 496, "a warp's shuffles add up");
  const Result copied = run(copyAndWait, shared, x.data(), true);
  expect(!copied.failed && copied.y[7] == 3, "asynchronous copies are there once waited for");

  expect(anyNaN(run(rotateWithoutBarrier, shared).y), "a missing barrier shows as NaN");
  expect(anyNaN(run(copyAndWait, shared, x.data(), false).y), "a missing wait for copies shows as NaN");
  expect(anyNaN(run(readUnwritten, shared).y), "shared memory begins as NaN");
  expect(run(barrierNotForAll, 0).failed, "threads that wait for each other forever are a failure, not a hang");
  expect(run(writeBehind, 0, threads).failed, "a write behind an allocation is a failure");
  expect(run(writeBehind, 0, -1).failed, "a write before an allocation is a failure");
  expect(run(writeBehindShared, shared).failed, "a write behind shared memory is a failure");
  expect(run(loadGlobalFromShared, shared).failed, "an instruction for global memory on shared memory is a failure");
  expect(run(loadMisaligned, 0).failed, "16 bytes from an address that is no multiple of 16 are a failure");
  checkCaptures();
  return failures > 0;
}
