// memory-efficient attention of many rows with heads of 64 halves on wgmma (compute capability 9.0): an encoder's.
//
// Shapes   rows of one key/value head: (query, head of its group); every row sees all keys
// Bytes    a block reads all keys and values once for its 128 rows, mostly from the second-level cache
// Work     4 x 64 multiply-adds and one exponential a score: 256 clocks of the matrix unit and 256 of the exponentials'
//          for 64 rows and 64 keys
// Method   FlashAttention's, a warpgroup 64 rows, two warpgroups a block, two blocks a multiprocessor: while one waits
//          for its products, others make their softmax. Queries and weights are operands in registers, keys and values
//          come from shared memory: tiles of 64, two on their way with cp.async. (TMA would want a map of each tensor,
//          made on the host for each program, and save four instructions a thread and tile.) The product with the
//          values runs on while the next tile's scores are begun.
//
// History
//   H200, commit 1dabc91, attention_streaming.cu on mma.sync, 20 heads, 1,500 positions, float16: 74.5 us at batch 1,
//   545 at 8 (torch's sdpa 37.7 and 245): 250 registers, 11% of warps, 42% of issue slots. Prediction, not measured:
//   240 blocks on 132 multiprocessors are 1.82 each, of 24 tiles; 256 clocks of two warpgroups each at 60% of the
//   exponentials' rate are 43 k clocks: 25 us, and 4 for the first tile, the rows' loads and the launch: about 30 at
//   batch 1, 215 at 8.
#include "attention.h"
#include "cuda/kernels/warpgroup.h"

namespace onehead::cuda {

namespace {

constexpr int size = 64, groups = 2, threads = groups * 128, blockRows = groups * 64, tileKeys = 64;
constexpr int stages = 4;
constexpr int tileBytes = tileKeys * operandRow;  // of keys, or of values

template <class T>
__global__ void __launch_bounds__(threads, 2) warpgroupKernel(const __grid_constant__ AttentionArguments a) {
  ONEHEAD_SHARED(std::byte, shared);  // stages of keys and values
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32, quad = lane % 4;
  const int64_t b = blockIdx.z, keyHead = blockIdx.y;
  const int sharing = int(a.heads / a.keyValueHeads), rows = int(a.queries) * sharing, keys = int(a.keys);
  const int row0 = int(blockIdx.x) * blockRows + warp * 16 + lane / 4;  // and the eighth behind it
  letNextKernelStart();
  waitForPreviousKernel();

  const int column = thread % 8;  // every thread copies one chunk of every 32nd row
  const T* keyOf = static_cast<const T*>(a.k.data) + b * a.k.batchStride + keyHead * size + column * 8;
  const T* valueOf = static_cast<const T*>(a.v.data) + b * a.v.batchStride + keyHead * size + column * 8;
  auto load = [&](int tile) {
    std::byte* to = shared + tile % stages * 2 * tileBytes;
#pragma unroll
    for (int i = 0; i < tileKeys / 32; ++i) {
      const int row = thread / 8 + i * 32, key = tile * tileKeys + row;
      const bool there = key < keys;
      copyAsync16(to + chunkPlace(row, column), there ? keyOf + key * a.k.rowStride : keyOf, there ? 16 : 0);
      copyAsync16(to + tileBytes + chunkPlace(row, column), there ? valueOf + key * a.v.rowStride : valueOf,
                  there ? 16 : 0);
    }
  };
  const int tiles = divideUp(keys, tileKeys);
#pragma unroll
  for (int tile = 0; tile < stages - 2; ++tile) {
    if (tile < tiles) load(tile);
    commitCopies();
  }

  uint32_t query[4][4];
  T* outputs[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = smaller(row0 + half * 8, rows - 1), i = row / sharing;
    const int64_t head = keyHead * sharing + row % sharing;
    const T* q = static_cast<const T*>(a.q.data) + b * a.q.batchStride + i * a.q.rowStride + head * size;
#pragma unroll
    for (int k = 0; k < 4; ++k)
#pragma unroll
      for (int part = 0; part < 2; ++part)
        query[k][part * 2 + half] = *reinterpret_cast<const uint32_t*>(q + k * 16 + part * 8 + quad * 2);
    outputs[half] =
        static_cast<T*>(const_cast<void*>(a.y.data)) + b * a.y.batchStride + i * a.y.rowStride + head * size;
  }

  float values[8][4] = {}, scores[8][4] = {}, highest[2] = {-infinity, -infinity}, sums[2] = {};
  uint32_t weights[4][4];
  const float scale = a.scale * log2E;
  for (int tile = 0; tile < tiles; ++tile) {
    waitForCopies<stages - 3>();
    shareWithMatrixUnit();
    __syncthreads();
    // What this overwrites was used two tiles ago, which all have waited for before the barrier.
    if (tile + stages - 2 < tiles) load(tile + stages - 2);
    commitCopies();
    const std::byte* keyTile = shared + tile % stages * 2 * tileBytes;
    const std::byte* valueTile = keyTile + tileBytes;

    fenceOperands();
#pragma unroll
    for (int k = 0; k < 4; ++k) multiplyGroup<T, false>(scores, query[k], describeOperand(keyTile + k * 32), k > 0);
    commitProducts();
    waitForProducts<0>();  // for the values of the tile before, too

    const int left = keys - tile * tileKeys;
    if (left < tileKeys) {
#pragma unroll
      for (int n = 0; n < 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (n * 8 + quad * 2 + i % 2 >= left) scores[n][i] = -infinity;
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float above = highest[half];
#pragma unroll
      for (int n = 0; n < 8; ++n) above = fmaxf(above, fmaxf(scores[n][half * 2], scores[n][half * 2 + 1]));
      above = warpMax<4>(above);  // a number: every tile has a key
      const float factor = exp2Fast((highest[half] - above) * scale), base = above * scale;
      highest[half] = above;
      float sum = 0;
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        const float low = exp2Fast(fmaf(scores[n][half * 2], scale, -base));
        const float high = exp2Fast(fmaf(scores[n][half * 2 + 1], scale, -base));
        sum += low + high;
        weights[n / 2][n % 2 * 2 + half] = makePair<T>(low, high);
        values[n][half * 2] *= factor;
        values[n][half * 2 + 1] *= factor;
      }
      sums[half] = fmaf(sums[half], factor, sum);
    }

    fenceOperands();
#pragma unroll
    for (int k = 0; k < 4; ++k)
      multiplyGroup<T, true>(values, weights[k], describeOperand(valueTile + k * 16 * operandRow), true);
    commitProducts();
  }
  waitForProducts<0>();

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = sums[half];
    sum += __shfl_xor_sync(allLanes, sum, 1);
    sum += __shfl_xor_sync(allLanes, sum, 2);
    if (row0 + half * 8 >= rows) continue;
    const float factor = 1.0f / sum;
#pragma unroll
    for (int n = 0; n < 8; ++n)
      *reinterpret_cast<uint32_t*>(outputs[half] + n * 8 + quad * 2) =
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
      return launch(launcher, warpgroupKernel<T>, grid, dim3(threads), size_t(stages) * 2 * tileBytes, a);
  });
}

}  // namespace onehead::cuda
