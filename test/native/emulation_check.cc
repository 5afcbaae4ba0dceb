// Tests of the emulation itself. Most kernels here have a bug that a GPU may or may not expose, and the emulation must
// detect it. The others are correct, and the emulation must report nothing.
#include <cmath>
#include <cstdio>
#include <thread>
#include <vector>

#include "../../native/cuda/kernels/warpgroup.h"

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
/** Deadlock: lane 0 waits for the block while its warp waits for lane 0. */
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
__global__ void writeOutOfBounds(float* y, int at) { y[at] = 1; }
__global__ void writePastShared(float* y) {
  ONEHEAD_SHARED(float, shared);
  shared[threads] = 1;
  y[threadIdx.x] = 0;
}
__global__ void sumWarp(float* y) { y[threadIdx.x] = warpSum(float(threadIdx.x)); }
__global__ void readUnwritten(float* y) {
  ONEHEAD_SHARED(float, shared);
  y[threadIdx.x] = shared[threadIdx.x];
}

__global__ void loadGlobalFromShared(float* y) {
  ONEHEAD_SHARED(float, shared);
  shared[threadIdx.x] = 1;
  y[threadIdx.x] = loadUncached(shared + threadIdx.x);
}

__global__ void loadMisaligned(float* y) { y[threadIdx.x] = float(loadConstant16(y + 1).x); }

/** Each block of a cluster reads what its neighbour wrote. */
__global__ void readNeighbour(float* y, bool hasBarrier, bool waitsForReader) {
  ONEHEAD_SHARED(float, shared);
  const int rank = rankOf(2), at = int(threadIdx.x);
  shared[at] = float(rank * threads + at);
  if (hasBarrier) clusterBarrier();
  if (!waitsForReader && rank == 0) return;
  const float read = loadFromRank(shared + at, 1 - rank);
  if (waitsForReader) clusterBarrier();
  if (rank == 0 || !waitsForReader) y[at] = read;
}

/** Possible bugs around a warpgroup's product. */
enum class Bug { none, notSwizzled, noProxyFence, noOperandFence, noWait, operandChanges, misalignedTile };

/** y[16, 64] = the transpose of b[64, 0 ... 15]: a is the identity, 16 of 64 rows. */
__global__ void multiplyIdentity(float* y, const float16* b, Bug bug) {
  ONEHEAD_SHARED(std::byte, shared);
  const int thread = int(threadIdx.x), group = thread % 32 / 4, quad = thread % 4;
  std::byte* tile = shared + (bug == Bug::misalignedTile ? 128 : 0);
  for (int index = thread; index < 64 * 8; index += 128) {
    const int row = index / 8, chunk = index % 8;
    copyAsync16(tile + (bug == Bug::notSwizzled ? index * 16 : chunkOffset(row, chunk)), b + row * 64 + chunk * 8, 16);
  }
  commitCopies();
  waitForCopies<0>();
  if (bug != Bug::noProxyFence) shareWithMatrixUnit();
  __syncthreads();
  uint32_t a[4] = {};
  const uint32_t one = makePair<float16>(quad * 2 == group, quad * 2 + 1 == group);
  if (thread < 32) a[0] = a[3] = one;
  float d[8][4];
  if (bug != Bug::noOperandFence) fenceOperands();
  multiplyGroup<float16, false>(d, a, describeOperand(tile), false);
  commitProducts();
  if (bug == Bug::operandChanges) a[0] = 0;
  if (bug != Bug::noWait) waitForProducts<0>();
  if (thread >= 32) return;
  for (int n = 0; n < 8; ++n)
    for (int i = 0; i < 4; ++i) y[(group + i / 2 * 8) * 64 + n * 8 + quad * 2 + i % 2] = d[n][i];
}

/** Whether the kernel above computes the right result without a failure. */
bool multiplies(Bug bug) {
  Launcher launcher;
  cudaStreamCreateWithFlags(&launcher.stream, cudaStreamNonBlocking);
  std::vector<float16> b(64 * 64);
  for (size_t i = 0; i < b.size(); ++i) b[i] = fromFloat<float16>(float(i % 61));
  std::vector<float> y(16 * 64);
  launch(launcher, multiplyIdentity, dim3(1), dim3(128), 64 * operandRow + 1024, y.data(), b.data(), bug);
  bool fine = cudaStreamSynchronize(launcher.stream) == cudaSuccess;
  for (size_t i = 0; i < y.size(); ++i) fine = fine && y[i] == float((i % 64 * 64 + i / 64) % 61);
  cudaStreamDestroy(launcher.stream);
  return fine;
}

int failures = 0;

void expect(bool fine, const char* what) {
  if (!fine) ++failures;
  std::printf("%s %s\n", fine ? "ok  " : "FAIL", what);
}

/** What a kernel wrote, and whether its stream failed. Each run has a stream of its own, since failures are sticky. */
struct Result {
  std::vector<float> y;
  bool failed;
};
template <class... Parameters>
Result runCluster(int blocks, void (*kernel)(float*, Parameters...), size_t sharedBytes,
                  std::type_identity_t<Parameters>... rest) {
  Launcher launcher;
  cudaStreamCreateWithFlags(&launcher.stream, cudaStreamNonBlocking);
  void* memory = nullptr;
  cudaMalloc(&memory, threads * sizeof(float));
  launchClusters(launcher, blocks, kernel, dim3(unsigned(blocks)), dim3(threads), sharedBytes,
                 static_cast<float*>(memory), rest...);
  Result result{std::vector<float>(threads), cudaStreamSynchronize(launcher.stream) != cudaSuccess};
  std::copy_n(static_cast<float*>(memory), threads, result.y.begin());
  cudaFree(memory);
  cudaStreamDestroy(launcher.stream);
  return result;
}

template <class... Parameters>
Result run(void (*kernel)(float*, Parameters...), size_t sharedBytes, std::type_identity_t<Parameters>... rest) {
  return runCluster(1, kernel, sharedBytes, rest...);
}

bool anyNaN(const std::vector<float>& values) {
  for (float value : values)
    if (std::isnan(value)) return true;
  return false;
}

/** How a capture ends if another thread makes this call during it. */
template <class Call>
cudaError_t captureDuring(Call call) {
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
  cudaStream_t other = nullptr, destroyed = nullptr;
  cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
  cudaStreamCreateWithFlags(&destroyed, cudaStreamNonBlocking);
  void *host = nullptr, *memory = nullptr;
  cudaHostAlloc(&host, 64, cudaHostAllocMapped);
  cudaMalloc(&memory, 64);
  cudaMemPoolProps properties{};
  cudaMemPool_t pool = nullptr;
  cudaMemPoolCreate(&pool, &properties);
  expect(captureDuring([&] { cudaStreamSynchronize(other); }) == cudaSuccess,
         "waiting for a stream invalidates no capture");
  auto invalidates = [](const char* what, auto call) {
    expect(captureDuring(call) == cudaErrorStreamCaptureInvalidated, what);
  };
  invalidates("freeing pinned memory invalidates captures of other threads", [&] { cudaFreeHost(host); });
  invalidates("freeing device memory invalidates captures", [&] { cudaFree(memory); });
  invalidates("destroying a pool invalidates captures", [&] { cudaMemPoolDestroy(pool); });
  invalidates("destroying a stream invalidates captures", [&] { cudaStreamDestroy(destroyed); });
  invalidates("waiting for the device invalidates captures", [] { cudaDeviceSynchronize(); });
  expect(captureDuring([] {}) == cudaSuccess, "the next capture is valid again");
  cudaStreamDestroy(other);
}

}  // namespace

int main() {
  constexpr size_t shared = threads * sizeof(float);
  std::vector<float> x(threads, 3.0f);
  const Result rotated = run(rotate, shared);
  expect(!rotated.failed && rotated.y[0] == 1 && rotated.y[threads - 1] == 0,
         "after a barrier, a thread reads what others wrote");
  expect(run(sumWarp, 0).y[5] == 496, "a warp sums with shuffles");
  const Result copied = run(copyAndWait, shared, x.data(), true);
  expect(!copied.failed && copied.y[7] == 3, "asynchronous copies are visible after the wait");

  expect(anyNaN(run(rotateWithoutBarrier, shared).y), "a missing barrier shows as NaN");
  expect(anyNaN(run(copyAndWait, shared, x.data(), false).y), "a missing wait for copies shows as NaN");
  expect(anyNaN(run(readUnwritten, shared).y), "shared memory begins as NaN");
  expect(run(barrierNotForAll, 0).failed, "a deadlock is a failure, not a hang");
  expect(run(writeOutOfBounds, 0, threads).failed, "a write after an allocation is a failure");
  expect(run(writeOutOfBounds, 0, -1).failed, "a write before an allocation is a failure");
  expect(run(writePastShared, shared).failed, "a write after shared memory is a failure");
  expect(run(loadGlobalFromShared, shared).failed, "a global-memory instruction on shared memory is a failure");
  expect(run(loadMisaligned, 0).failed, "a misaligned 16-byte load is a failure");

  const Result neighbour = runCluster(2, readNeighbour, shared, true, true);
  expect(!neighbour.failed && neighbour.y[3] == threads + 3, "blocks of a cluster read each other's shared memory");
  expect(anyNaN(runCluster(2, readNeighbour, shared, false, true).y), "a missing cluster barrier shows as NaN");
  expect(runCluster(2, readNeighbour, shared, true, false).failed,
         "reading the shared memory of a block that has ended is a failure");

  expect(multiplies(Bug::none), "a warpgroup multiplies a tile of shared memory");
  expect(!multiplies(Bug::notSwizzled), "a tile that is not swizzled gives a wrong result");
  expect(!multiplies(Bug::misalignedTile), "a tile that is not aligned to the swizzle gives a wrong result");
  expect(!multiplies(Bug::noProxyFence), "without a proxy fence, tensor cores do not see copies");
  expect(!multiplies(Bug::noOperandFence), "a product without an operand fence is a failure");
  expect(!multiplies(Bug::noWait), "sums that were not waited for are NaN");
  expect(!multiplies(Bug::operandChanges), "an operand that changes before the wait gives a wrong result");
  checkCaptures();
  return failures > 0;
}
