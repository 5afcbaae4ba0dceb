// memory-efficient attention on wgmma (compute capability 9.0): many rows, heads of 64, half types, no mask. This is an
// encoder's attention.
//
// Shapes   the rows of a key/value head are (query, head of its group); every row sees all keys
// Launch   grid (tiles of 128 rows, key/value heads, batch), 256 threads, 64 KB of shared memory (4 stages of 8 KB of
//          keys and 8 KB of values)
// Bytes    each block reads all keys and values once for its 128 rows, mostly from the L2 cache
// Work     4 x 64 multiply-adds and one exponential per score: for 64 rows and 64 keys 256 clocks of the tensor cores
//          and 256 of the special function units
// Method   FlashAttention: a warpgroup has 64 rows; two warpgroups per block and two blocks per multiprocessor, so that
//          one computes its softmax while another's products run. Queries and weights are register operands, keys and
//          values are read from shared memory: tiles of 64 keys, two in flight with cp.async. (TMA would need a tensor
//          map for each tensor, made on the host for each program, and save four instructions per thread and tile.) The
//          product with the values still runs while the next tile's scores are issued.
//
// History
//   Measured on an H200 at commit 1dabc91 (20 heads, 1,500 positions, float16), attention_streaming.cu with mma.sync:
//   74.5 us at batch 1, 545 at 8 (torch's sdpa 37.7 and 245); 250 registers, 11% occupancy, 42% of issue slots.
//   This kernel was never measured. Predicted: 240 blocks on 132 multiprocessors are 1.82 each, with 24 tiles; 256
//   clocks for each of two warpgroups at 60% of the exponentials' rate give 43,000 clocks, which is 25 us, plus 4 for
//   the first tile, loading the rows, and launch: about 30 at batch 1, 215 at 8.
#include "attention.h"
#include "cuda/kernels/warpgroup.h"

namespace onehead::cuda {

namespace {

constexpr int size = 64, groups = 2, threads = groups * 128, blockRows = groups * 64, tileKeys = 64;
constexpr int stages = 3, ahead = stages - 1;     // tiles in shared memory, and those in flight
constexpr int tileBytes = tileKeys * operandRow;  // of keys or values
constexpr int queryBytes = blockRows * operandRow;

template <class T>
__global__ void __launch_bounds__(threads, 2) warpgroupKernel(const __grid_constant__ AttentionArguments a) {
  ONEHEAD_SHARED(std::byte, shared);  // queries, and stages of keys and values
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32, quad = lane % 4;
  const int64_t b = blockIdx.z, keyHead = blockIdx.y;
  const int headsPerGroup = int(a.heads / a.keyValueHeads), rows = int(a.queries) * headsPerGroup, keys = int(a.keys);
  const int row0 = int(blockIdx.x) * blockRows + warp * 16 + lane / 4;  // the thread's other row is row0 + 8
  letNextKernelStart();
  waitForPreviousKernel();

  const int column = thread % 8;  // each thread copies one 16-byte chunk of every 32nd row
  const T* keyOf = static_cast<const T*>(a.k.data) + b * a.k.batchStride + keyHead * size + column * 8;
  const T* valueOf = static_cast<const T*>(a.v.data) + b * a.v.batchStride + keyHead * size + column * 8;
  auto load = [&](int tile) {
    std::byte* to = shared + queryBytes + tile % stages * 2 * tileBytes;
#pragma unroll
    for (int i = 0; i < tileKeys / 32; ++i) {
      const int row = thread / 8 + i * 32, key = tile * tileKeys + row;
      const bool valid = key < keys;
      copyAsync16(to + chunkOffset(row, column), valid ? keyOf + key * a.k.rowStride : keyOf, valid ? 16 : 0);
      copyAsync16(to + tileBytes + chunkOffset(row, column), valid ? valueOf + key * a.v.rowStride : valueOf,
                  valid ? 16 : 0);
    }
  };
  auto rowOf = [&](const AttentionView& view, int row) {
    row = min(row, rows - 1);
    const int64_t head = keyHead * headsPerGroup + row % headsPerGroup;
    return static_cast<T*>(const_cast<void*>(view.data)) + b * view.batchStride + row / headsPerGroup * view.rowStride +
           head * size;
  };
#pragma unroll
  for (int i = 0; i < blockRows / 32; ++i) {
    const int row = thread / 8 + i * 32;
    copyAsync16(shared + chunkOffset(row, column), rowOf(a.q, int(blockIdx.x) * blockRows + row) + column * 8, 16);
  }
  const int tiles = divideUp(keys, tileKeys);
#pragma unroll
  for (int tile = 0; tile < ahead; ++tile) {
    if (tile < tiles) load(tile);
    commitCopies();
  }

  float values[8][4] = {}, scores[8][4] = {}, maximum[2] = {-infinity, -infinity}, sums[2] = {};
  uint32_t weights[4][4];
  const std::byte* queries = shared + warp / 4 * 64 * operandRow;  // of this warpgroup
  const float scale = a.scale * log2E;
  for (int tile = 0; tile < tiles; ++tile) {
    waitForCopies<ahead - 1>();
    shareWithMatrixUnit();
    __syncthreads();
    // The overwritten stage was read for the previous tile; all threads waited for its products before the barrier.
    if (tile + ahead < tiles) load(tile + ahead);
    commitCopies();
    const std::byte* keyTile = shared + queryBytes + tile % stages * 2 * tileBytes;
    const std::byte* valueTile = keyTile + tileBytes;

    fenceOperands();
#pragma unroll
    for (int k = 0; k < 4; ++k)
      multiplyGroup<T>(scores, describeOperand(queries + k * 32), describeOperand(keyTile + k * 32), k > 0);
    commitProducts();
    waitForProducts<0>();

    const int keysLeft = keys - tile * tileKeys;
    if (keysLeft < tileKeys) {
#pragma unroll
      for (int n = 0; n < 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (n * 8 + quad * 2 + i % 2 >= keysLeft) scores[n][i] = -infinity;
    }
    // A row's base is its maximum when it was last changed: weights of up to 2^8 are as exact as those of up to 1, and
    // the sums so far seldom need a new base.
    float highest[2];
    bool changes = false;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      highest[half] = maximum[half];
#pragma unroll
      for (int n = 0; n < 8; ++n)
        highest[half] = fmaxf(highest[half], fmaxf(scores[n][half * 2], scores[n][half * 2 + 1]));
      highest[half] = warpMax<4>(highest[half]);  // finite: every tile has at least one key
      changes |= (highest[half] - maximum[half]) * scale > 8;
    }
    if (__ballot_sync(allLanes, changes)) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float factor = exp2Fast((maximum[half] - highest[half]) * scale);
        maximum[half] = highest[half];
        sums[half] *= factor;
#pragma unroll
        for (int n = 0; n < 8; ++n) {
          values[n][half * 2] *= factor;
          values[n][half * 2 + 1] *= factor;
        }
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float base = maximum[half] * scale;
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        const float low = exp2Fast(fmaf(scores[n][half * 2], scale, -base));
        const float high = exp2Fast(fmaf(scores[n][half * 2 + 1], scale, -base));
        sums[half] += low + high;
        weights[n / 2][n % 2 * 2 + half] = makePair<T>(low, high);
      }
    }

    fenceOperands();
#pragma unroll
    for (int k = 0; k < 4; ++k)
      multiplyGroup<T, true>(values, weights[k], describeOperand(valueTile + k * 16 * operandRow), true);
    commitProducts();
    waitForProducts<0>();
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = sums[half];
    sum += __shfl_xor_sync(allLanes, sum, 1);
    sum += __shfl_xor_sync(allLanes, sum, 2);
    if (row0 + half * 8 >= rows) continue;
    const float factor = 1.0f / sum;
    T* output = rowOf(a.y, row0 + half * 8) + quad * 2;
#pragma unroll
    for (int n = 0; n < 8; ++n)
      *reinterpret_cast<uint32_t*>(output + n * 8) =
          makePair<T>(values[n][half * 2] * factor, values[n][half * 2 + 1] * factor);
  }
}

}  // namespace

bool warpgroupFits(const AttentionArguments& a, const Launcher& launcher) {
  const bool plain = !a.causal && !a.start && !a.newKey.data && !a.source && !a.scores && !a.rows && !a.keyBegin;
  return launcher.warpgroups && plain && a.scale > 0 && a.type != DType::float32 && a.headSize == size && a.keys > 0 &&
         a.queries * (a.heads / a.keyValueHeads) >= blockRows / 2;
}

cudaError_t warpgroupAttention(const AttentionArguments& a, const Launcher& launcher) {
  const int64_t rows = a.queries * (a.heads / a.keyValueHeads);
  const dim3 grid(unsigned(divideUp<int64_t>(rows, blockRows)), unsigned(a.keyValueHeads), unsigned(a.batch));
  return withType(a.type, [&](auto element) {
    using T = decltype(element);
    if constexpr (std::is_same_v<T, float>)
      return cudaErrorInvalidValue;
    else
      return launch(launcher, warpgroupKernel<T>, grid, dim3(threads), queryBytes + size_t(stages) * 2 * tileBytes, a);
  });
}

}  // namespace onehead::cuda
