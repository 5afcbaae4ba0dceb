#include "context.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "../core/error.h"
#include "probe.h"

namespace onehead::cuda {

namespace {

/** Up to this much freed memory stays in the pool, so that programs can come and go without calls to the driver. */
constexpr uint64_t poolBytes = uint64_t(256) << 20;

/** Whether an environment variable, a list such as 'prefetch,rows', names a design: to measure what it is worth. */
bool isNamed(const char* variable, std::string_view design) {
  const char* given = std::getenv(variable);
  std::string_view names = given ? given : "";
  while (!names.empty()) {
    const size_t end = std::min(names.find(','), names.size());
    if (names.substr(0, end) == design) return true;
    names.remove_prefix(std::min(end + 1, names.size()));
  }
  return false;
}

bool isLeftOut(std::string_view design) { return isNamed("ONEHEAD_CUDA_WITHOUT", design); }
/** For a kernel in place of one that was measured: only if it is named. */
bool isTried(std::string_view design) { return isNamed("ONEHEAD_CUDA_WITH", design); }

std::string mebibytes(size_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

}  // namespace

Context::Context(const CudaOptions& options) : Context(options.index) {
  const DriverLock lock;
  const CudaDriver driver = findDriver();
  const std::string requested = std::string(deviceName) + ":" + std::to_string(index_);
  if (driver.devices == 0)
    throw Error("DEVICE_UNAVAILABLE", "The CUDA device cannot be used: " + driver.reason +
                                          "; run `onehead doctor` for details, or use 'cpu'.");
  if (index_ < 0 || index_ >= driver.devices)
    throw Error("DEVICE_UNAVAILABLE", "There is no device '" + requested + "': the driver reports " +
                                          std::to_string(driver.devices) + ", numbered from 0.");
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, index_), "querying its properties");
  if (const std::string problem = deviceProblem(index_); !problem.empty())
    throw Error("DEVICE_UNAVAILABLE", "The device '" + requested + "' (" + properties.name +
                                          ") cannot run this addon's kernels: " + problem +
                                          "; run `onehead doctor` for details, or use 'cpu'.");
  use();
  size_t total = 0;
  check(cudaMemGetInfo(&freeAtFirst_, &total), "querying its memory");
  launcher_.programmatic = properties.major >= 9;
  launcher_.clusters = properties.major >= 9;
#if defined(ONEHEAD_WARPGROUPS_COMPILED)
  launcher_.warpgroups = properties.major == 9 && properties.minor == 0;
#endif
  launcher_.multiprocessors = properties.multiProcessorCount;
  launcher_.sharedMemory = properties.sharedMemPerBlockOptin;
  if (!isLeftOut("prefetch")) launcher_.cacheBytes = properties.l2CacheSize;
  if (isLeftOut("rows")) launcher_.maxRowProductRows = 8;
  launcher_.ringAttention = isTried("ring");
  launcher_.sharingNorm = !isLeftOut("norm");
  launcher_.wideActivation = !isLeftOut("gelu");
  check(cudaStreamCreateWithFlags(&launcher_.stream, cudaStreamNonBlocking), "creating a stream");
  check(cudaStreamCreateWithFlags(&allocations_, cudaStreamNonBlocking), "creating a stream");
  cudaMemPoolProps pool{};
  pool.allocType = cudaMemAllocationTypePinned;
  pool.location = {cudaMemLocationTypeDevice, index_};
  check(cudaMemPoolCreate(&pool_, &pool), "creating a memory pool");
  uint64_t threshold = poolBytes;
  check(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &threshold), "creating a memory pool");
}

Context::~Context() { close(); }

void Context::close() noexcept {
  const DriverLock lock;
  if (closed_) return;
  closed_ = true;
  use();
  if (launcher_.stream) cudaStreamSynchronize(launcher_.stream);
  for (Owned* owned : owned_) owned->release();
  owned_.clear();
  for (const auto& [memory, bytes] : allocated_) {
    cudaFreeAsync(memory, allocations_);
    counter_.subtract(bytes);
  }
  allocated_.clear();
  for (const Mapped<std::byte>& piece : pieces_)
    if (piece.host) cudaFreeHost(piece.host);
  if (progress_.host) cudaFreeHost(progress_.host);
  if (launcher_.stream) cudaStreamDestroy(launcher_.stream);
  if (allocations_) {
    cudaStreamSynchronize(allocations_);
    cudaStreamDestroy(allocations_);
  }
  if (pool_) cudaMemPoolDestroy(pool_);
  cudaGetLastError();  // a device that has failed reports it again here
}

void Context::own(Owned* owned) {
  const DriverLock lock;
  owned_.insert(owned);
}

void Context::disown(Owned* owned) noexcept {
  const DriverLock lock;
  owned_.erase(owned);
}

void Context::check(cudaError_t error, const std::string& doing) const {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // clears the error, if it is not sticky, so that the next call does not report it
  if (error == cudaErrorMemoryAllocation)
    throw Error("OUT_OF_MEMORY", "The GPU ran out of memory while " + doing +
                                     "; use a smaller model or batch, or end other processes that use the GPU.");
  fail(doing, cudaGetErrorString(error));
}

void Context::fail(const std::string& doing, const std::string& reason) const {
  throw Error("DEVICE_FAILED", "The GPU failed while " + doing + ": " + reason +
                                   ". Close this device; if a new one fails too, restart the process.");
}

void Context::outOfMemory(size_t bytes) const {
  size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  throw Error("OUT_OF_MEMORY", "The GPU could not allocate " + mebibytes(bytes) + ": " + mebibytes(free) + " of " +
                                   mebibytes(total) + " are free, and this device uses " +
                                   mebibytes(counter_.figures().inUse) +
                                   "; use a smaller model or batch, or end other processes that use the GPU.");
}

void* Context::allocate(size_t bytes) {
  const DriverLock lock;
  if (closed_) throw Error("DISPOSED", "This device has been closed; open a new one.");
  use();
  void* memory = nullptr;
  cudaError_t error = cudaMallocFromPoolAsync(&memory, bytes, pool_, allocations_);
  if (error == cudaErrorMemoryAllocation) {
    // The pool's free memory may be fragmented: return it and try once more.
    cudaGetLastError();
    cudaStreamSynchronize(allocations_);
    cudaMemPoolTrimTo(pool_, 0);
    error = cudaMallocFromPoolAsync(&memory, bytes, pool_, allocations_);
  }
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    outOfMemory(bytes);
  }
  check(error, "allocating memory");
  error = cudaMemsetAsync(memory, 0, bytes, allocations_);
  if (error == cudaSuccess) error = cudaStreamSynchronize(allocations_);
  if (error != cudaSuccess) cudaFreeAsync(memory, allocations_);
  check(error, "clearing memory");
  counter_.add(bytes);
  allocated_[memory] = bytes;
  return memory;
}

void Context::free(void* memory) noexcept {
  const DriverLock lock;
  const auto found = allocated_.find(memory);
  if (found == allocated_.end()) return;  // already freed with the device
  use();
  cudaFreeAsync(memory, allocations_);
  cudaGetLastError();
  counter_.subtract(found->second);
  allocated_.erase(found);
}

template <class T>
const Context::Mapped<T>& Context::map(Mapped<T>& mapped, size_t bytes) {
  if (mapped.host) return mapped;
  const DriverLock lock;
  void *host = nullptr, *device = nullptr;
  check(cudaHostAlloc(&host, bytes, cudaHostAllocMapped), "pinning host memory");
  cudaError_t error = cudaHostGetDevicePointer(&device, host, 0);
  if (error != cudaSuccess) cudaFreeHost(host);
  check(error, "pinning host memory");
  return mapped = {static_cast<T*>(host), static_cast<T*>(device)};
}

const Context::Mapped<std::byte>& Context::piece(int i) { return map(pieces_[i], pieceBytes); }
const Context::Mapped<Progress>& Context::progress() { return map(progress_, sizeof(Progress)); }

Buffer::Buffer(size_t bytes, std::shared_ptr<Context> context) : bytes_(bytes), context_(std::move(context)) {
  if (bytes > 0) data_ = static_cast<std::byte*>(context_->allocate(bytes));
}

void Buffer::reset() {
  if (data_) context_->free(data_);
  data_ = nullptr;
  bytes_ = 0;
}

void Buffer::swap(Buffer& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(context_, other.context_);
}

std::shared_ptr<Buffer> SharedBuffer::atLeast(size_t bytes) {
  if (!buffer_ || bytes > buffer_->bytes()) {
    if (buffer_.use_count() == 1) buffer_.reset();  // free it before allocating the next
    buffer_ = std::make_shared<Buffer>(bytes, context_);
  }
  return buffer_;
}

Events::Events(Context& context, size_t count, unsigned flags) {
  const DriverLock lock;
  for (size_t i = 0; i < count; ++i) {
    cudaEvent_t event = nullptr;
    const cudaError_t error = cudaEventCreateWithFlags(&event, flags);
    if (error == cudaSuccess) {
      handles_.push_back(event);
      continue;
    }
    for (cudaEvent_t created : handles_) cudaEventDestroy(created);  // no destructor runs if a constructor throws
    context.check(error, "creating an event");
  }
}

void Events::release() noexcept {
  if (handles_.empty()) return;
  const DriverLock lock;
  for (cudaEvent_t event : handles_) cudaEventDestroy(event);
  handles_.clear();
}

}  // namespace onehead::cuda
