// Tests of the emulation itself. Each kernel here has a fault that a GPU may tolerate today and not tomorrow, and the
// emulation must detect it. The first kernels are correct, to check that it reports nothing where nothing is wrong.
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
  y[threadIdx.x] = loadUncached(shared + threadIdx.x);
}

__global__ void loadMisaligned(float* y) { y[threadIdx.x] = float(loadConstant16(y + 1).x); }

/** Each block of a cluster reads what its neighbour wrote. */
__global__ void readNeighbour(float* y, bool meets, bool stays) {
  ONEHEAD_SHARED(float, shared);
  const int rank = rankOf(2), at = int(threadIdx.x);
  shared[at] = float(rank * threads + at);
  if (meets) clusterBarrier();
  if (!stays && rank == 0) return;
  const float read = loadFromRank(shared + at, 1 - rank);
  if (stays) clusterBarrier();
  if (rank == 0 || !stays) y[at] = read;
}

/** Possible faults around a warpgroup's product. */
enum class Slip { none, chunksInOrder, notShared, noFence, noWait, operandChanges, begin };

/** y[16][64] = the first 16 depths of b's 64 rows: a is the identity, in 64 rows of which 16 are used. */
__global__ void multiplyByOne(float* y, const float16* b, Slip slip) {
  ONEHEAD_SHARED(std::byte, shared);
  const int thread = int(threadIdx.x), group = thread % 32 / 4, quad = thread % 4;
  std::byte* tile = shared + (slip == Slip::begin ? 128 : 0);
  for (int place = thread; place < 64 * 8; place += 128) {
    const int row = place / 8, chunk = place % 8;
    copyAsync16(tile + (slip == Slip::chunksInOrder ? place * 16 : chunkOffset(row, chunk)), b + row * 64 + chunk * 8,
                16);
  }
  commitCopies();
  waitForCopies<0>();
  if (slip != Slip::notShared) shareWithMatrixUnit();
  __syncthreads();
  uint32_t a[4] = {};
  const uint32_t one = makePair<float16>(quad * 2 == group, quad * 2 + 1 == group);
  if (thread < 32) a[0] = a[3] = one;
  float d[8][4];
  if (slip != Slip::noFence) fenceOperands();
  multiplyGroup<float16, false>(d, a, describeOperand(tile), false);
  commitProducts();
  if (slip == Slip::operandChanges) a[0] = 0;
  if (slip != Slip::noWait) waitForProducts<0>();
  if (thread >= 32) return;
  for (int n = 0; n < 8; ++n)
    for (int i = 0; i < 4; ++i) y[(group + i / 2 * 8) * 64 + n * 8 + quad * 2 + i % 2] = d[n][i];
}

/** Whether the kernel above computes the right result without a failure. */
bool multiplies(Slip slip) {
  Launcher launcher;
  cudaStreamCreateWithFlags(&launcher.stream, cudaStreamNonBlocking);
  std::vector<float16> b(64 * 64);
  for (size_t i = 0; i < b.size(); ++i) b[i] = fromFloat<float16>(float(i % 61));
  std::vector<float> y(16 * 64);
  launch(launcher, multiplyByOne, dim3(1), dim3(128), 64 * operandRow + 1024, y.data(), b.data(), slip);
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

/** What a kernel left in `count` floats, and whether the stream failed. Each has a stream of its own: failures stick.
 */
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

/** How a capture ends if another thread makes this call meanwhile. */
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
  expect(run(barrierNotForAll, 0).failed, "a deadlock is a failure, not a hang");
  expect(run(writeBehind, 0, threads).failed, "a write after an allocation is a failure");
  expect(run(writeBehind, 0, -1).failed, "a write before an allocation is a failure");
  expect(run(writeBehindShared, shared).failed, "a write after shared memory is a failure");
  expect(run(loadGlobalFromShared, shared).failed, "a global-memory instruction on shared memory is a failure");
  expect(run(loadMisaligned, 0).failed, "a misaligned 16-byte load is a failure");

  const Result neighbour = runCluster(2, readNeighbour, shared, true, true);
  expect(!neighbour.failed && neighbour.y[3] == threads + 3, "blocks of a cluster read each other's shared memory");
  expect(anyNaN(runCluster(2, readNeighbour, shared, false, true).y), "a missing barrier of a cluster shows as NaN");
  expect(runCluster(2, readNeighbour, shared, true, false).failed,
         "reading the shared memory of a block that has ended is a failure");

  expect(multiplies(Slip::none), "a warpgroup multiplies what lies in shared memory");
  expect(!multiplies(Slip::chunksInOrder), "an operand whose chunks are not exchanged gives something else");
  expect(!multiplies(Slip::begin), "an operand that does not begin where its exchange does gives something else");
  expect(!multiplies(Slip::notShared), "the matrix unit does not see copies that were not shown to it");
  expect(!multiplies(Slip::noFence), "a product without a fence is a failure");
  expect(!multiplies(Slip::noWait), "sums that were not waited for are NaN");
  expect(!multiplies(Slip::operandChanges), "an operand that changes before the wait gives something else");
  checkCaptures();
  return failures > 0;
}
