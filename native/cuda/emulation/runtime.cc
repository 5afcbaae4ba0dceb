// The emulated CUDA runtime: memory with guard bytes, streams that execute at once, graphs as recorded lists.
#include <cuda_runtime.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

using Work = std::function<cudaError_t()>;

struct EmulatedGraph {
  std::vector<Work> work;
};
struct EmulatedStream {
  EmulatedGraph* capturing = nullptr;
  bool spoilt = false;                // its capture was invalidated; guarded by `capturesMutex`
  cudaError_t failure = cudaSuccess;  // sticky, like a kernel's failure
};
struct EmulatedEvent {
  std::chrono::steady_clock::time_point time;
};
struct EmulatedPool {};

namespace {

/** Guard bytes before and after each allocation; as floats they are NaN. */
constexpr size_t canaryBytes = 1024;
constexpr auto canary = std::byte(0xff);

std::mutex mutex;
std::map<void*, size_t> allocations;
size_t allocated = 0;
thread_local cudaError_t lastError = cudaSuccess;

/** Streams that are being captured, of all threads. */
std::mutex capturesMutex;
std::set<EmulatedStream*> captured;

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) lastError = error;
  return error;
}

/** Memory of the emulated device. The environment variable ONEHEAD_EMULATED_MEMORY (bytes) limits it, to test running
 * out of memory. */
size_t deviceMemory() {
  const char* given = std::getenv("ONEHEAD_EMULATED_MEMORY");
  return given ? std::strtoull(given, nullptr, 10) : size_t(8) << 30;
}

/** Whether the environment variable ONEHEAD_EMULATED_FAULT requests this fault: 'no driver', 'old driver', 'no device',
 * 'other architecture', 'kernel failure' or 'disturbed captures'. */
bool faulty(std::string_view what) {
  const char* given = std::getenv("ONEHEAD_EMULATED_FAULT");
  return given && what == given;
}

bool intact(const std::byte* memory, size_t bytes) {
  for (size_t i = 0; i < canaryBytes; ++i)
    if (memory[-ptrdiff_t(i) - 1] != canary || memory[bytes + i] != canary) return false;
  return true;
}

cudaError_t checkCanaries() {
  std::lock_guard lock(mutex);
  for (const auto& [memory, bytes] : allocations)
    if (!intact(static_cast<std::byte*>(memory), bytes)) {
      std::fprintf(stderr, "emulation: a kernel wrote outside an allocation of %zu bytes\n", bytes);
      return cudaErrorIllegalAddress;
    }
  return cudaSuccess;
}

}  // namespace

void onehead::emulation::disturbCaptures() {
  std::lock_guard lock(capturesMutex);
  for (EmulatedStream* stream : captured) stream->spoilt = true;
}

cudaError_t onehead::emulation::enqueue(cudaStream_t stream, Work work) {
  if (stream->capturing) {
    std::lock_guard lock(capturesMutex);
    if (stream->spoilt) return remember(cudaErrorStreamCaptureInvalidated);
    stream->capturing->work.push_back(std::move(work));
    return cudaSuccess;
  }
  if (stream->failure == cudaSuccess) stream->failure = work();
  return remember(stream->failure);
}

using onehead::emulation::disturbCaptures;
using onehead::emulation::enqueue;

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorIllegalAddress:
      return "an illegal memory access was encountered";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    default:
      return "unspecified launch failure";
  }
}
cudaError_t cudaGetLastError() {
  cudaError_t error = lastError;
  lastError = cudaSuccess;
  return error;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = faulty("no driver") ? 0 : faulty("old driver") ? 12000 : 13000;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  if (faulty("old driver")) return remember(cudaErrorInsufficientDriver);
  return remember(faulty("no device") ? cudaErrorNoDevice : cudaSuccess);
}
cudaError_t cudaSetDevice(int device) { return remember(device == 0 ? cudaSuccess : cudaErrorInvalidDevice); }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return remember(cudaErrorInvalidDevice);
  // Few multiprocessors, so that the small shapes of tests are split over blocks too.
  *properties = {"emulated GPU", deviceMemory(), std::getenv("ONEHEAD_EMULATED_OLD") ? 8 : 9, 0, 8,
                 227 << 10,      600 << 10};
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  disturbCaptures();
  *stream = new EmulatedStream;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  disturbCaptures();
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream->failure == cudaSuccess) stream->failure = checkCanaries();
  return remember(stream->failure);
}
cudaError_t cudaDeviceSynchronize() {
  disturbCaptures();
  return remember(checkCanaries());
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new EmulatedEvent;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return enqueue(stream, [event] {
    event->time = std::chrono::steady_clock::now();
    return cudaSuccess;
  });
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  return cudaEventRecord(event, stream);
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return cudaSuccess;
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps*) {
  disturbCaptures();
  *pool = new EmulatedPool;
  return cudaSuccess;
}
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  disturbCaptures();
  delete pool;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) {
  disturbCaptures();
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  disturbCaptures();
  std::lock_guard lock(mutex);
  if (bytes > deviceMemory() || allocated + bytes > deviceMemory()) return remember(cudaErrorMemoryAllocation);
  size_t padded = (bytes + 2 * canaryBytes + 255) / 256 * 256;
  auto* base = static_cast<std::byte*>(std::aligned_alloc(256, padded));
  if (!base) return remember(cudaErrorMemoryAllocation);
  std::memset(base, int(canary), padded);
  *memory = base + canaryBytes;
  allocations[*memory] = bytes;
  allocated += bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  disturbCaptures();
  std::lock_guard lock(mutex);
  auto found = allocations.find(memory);
  if (found == allocations.end()) return remember(cudaErrorInvalidValue);
  const bool intactGuards = intact(static_cast<std::byte*>(memory), found->second);
  allocated -= found->second;
  allocations.erase(found);
  std::free(static_cast<std::byte*>(memory) - canaryBytes);
  return remember(intactGuards ? cudaSuccess : cudaErrorIllegalAddress);
}
cudaError_t cudaMallocFromPoolAsync(void** memory, size_t bytes, cudaMemPool_t, cudaStream_t) {
  return cudaMalloc(memory, bytes);
}
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  const cudaError_t error = cudaFree(memory);
  if (error != cudaSuccess) stream->failure = error;
  return error;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  std::lock_guard lock(mutex);
  *total = deviceMemory();
  *free = *total > allocated ? *total - allocated : 0;
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  disturbCaptures();
  *memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  return *memory ? cudaSuccess : remember(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* memory) {
  disturbCaptures();
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned) {
  *device = host;
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  return enqueue(stream, [=] {
    std::memmove(to, from, bytes);
    return cudaSuccess;
  });
}
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  return enqueue(stream, [=] {
    std::memset(memory, value, bytes);
    return cudaSuccess;
  });
}

// As on a GPU, calls that make the driver wait for the whole context invalidate captures of all threads. This emulation
// is stricter than known drivers: allocations do so too.
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  std::lock_guard lock(capturesMutex);
  stream->capturing = new EmulatedGraph;
  stream->spoilt = faulty("disturbed captures");
  captured.insert(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  std::lock_guard lock(capturesMutex);
  captured.erase(stream);
  *graph = std::exchange(stream->capturing, nullptr);
  if (!stream->spoilt) return cudaSuccess;
  if (!faulty("disturbed captures")) std::fprintf(stderr, "emulation: a capture was disturbed\n");
  delete std::exchange(*graph, nullptr);
  return remember(cudaErrorStreamCaptureInvalidated);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new EmulatedGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  disturbCaptures();
  delete executable;
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t stream) { return remember(stream->failure); }
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  for (const Work& work : executable->work)
    if (cudaError_t error = enqueue(stream, work); error != cudaSuccess) return error;
  return cudaSuccess;
}

cudaError_t onehead::emulation::enqueueGrid(cudaStream_t stream, dim3 grid, int cluster, dim3 threads,
                                            size_t sharedBytes, std::function<void()> body) {
  const unsigned count = threads.x * threads.y * threads.z;
  const bool fits = cluster >= 1 && cluster <= 8 && grid.x % unsigned(cluster) == 0 && count > 0 && count <= 1024 &&
                    grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.y <= 65535 && grid.z <= 65535 &&
                    sharedBytes <= size_t(227 << 10);
  if (!fits) return remember(cudaErrorInvalidValue);
  if (faulty("other architecture")) return remember(cudaErrorNoKernelImageForDevice);
  return enqueue(stream, [=] {
    if (faulty("kernel failure")) return cudaErrorIllegalAddress;
    std::string failure = runGrid(grid, cluster, threads, sharedBytes, body);
    if (failure.empty()) return cudaSuccess;
    std::fprintf(stderr, "emulation: %s\n", failure.c_str());
    return cudaErrorLaunchFailure;
  });
}
