// memory-efficient attention on wgmma (compute capability 9.0): many rows, heads of 64, half types, no mask. This is an
// encoder's attention.
//
// Shapes   the rows of a key/value head are (query, head of its group); every row sees all keys
// Launch   grid (tiles of 128 rows, key/value heads, batch), 256 threads, 80 KB of shared memory (16 KB of queries, 4
//          stages of 8 KB of keys and 8 KB of values)
// Bytes    each block reads all keys and values once for its 128 rows, mostly from the L2 cache
// Work     4 x 64 multiply-adds and one exponential per score: for 64 rows and 64 keys 256 clocks of the tensor cores
//          and 256 of the special function units
// Method   FlashAttention: a warpgroup has 64 rows; two warpgroups per block and two blocks per multiprocessor, so that
//          one computes its softmax while another's products run. Within a warpgroup in FlashAttention-3's order: the
//          next tile's scores and this tile's product with the values are issued together, and the next tile's softmax
//          runs during the latter. Queries, keys and values are in shared memory, weights in registers: tiles of 64
//          keys, three loaded in advance with cp.async.
//
// History
//   Measured on an H200 at commit 1dabc91 (20 heads, 1,500 positions, float16), attention_streaming.cu with mma.sync:
//   74.5 us at batch 1, 545 at 8 (torch's sdpa 37.7 and 245); 250 registers, 11% occupancy, 42% of issue slots.
//   The first version of this kernel gave wrong results on a GPU for more than one tile: ptxas 13.0 reuses registers of
//   operands that a loop does not change, here the queries. The tests found it; queries are in shared memory since.
//   That version, each product waited for where it is issued: 38.9 us at batch 1, 275 at 8 on an H200 (sdpa 37.5 and
//   244). Predicted were 30 and 215, with products and exponentials of different warpgroups at the same time.
//   Variants in a separate program on the same H200, us at batch 1 / 8 (that version there: 38.0 / 266):
//     this order, as here                                            36.2 / 253.5
//     the same, 2 of 8 exponentials as polynomials                   40.3 / 264
//     tiles loaded with TMA                                          36.2 / 243
//     TMA, the two warpgroups issue their products in turns          35.9 / 249
//     TMA, turns, tiles of 80 keys                                   34.3 / 225
//     TMA, one block of four warpgroups, without and with turns      36.2 / 259, 33.5 / 255
//     TMA, turns, one block of three warpgroups, tiles of 128 keys   46.7 / 228.5
//     TMA, two buffers of scores (exponentials also run during the next tile's scores), tiles of 48 keys:
//     two blocks of two warpgroups 37.2 / 264, one of four with turns 38.6 / 285; 64 keys, one of three 58.4 / 280
//   The best, TMA with turns and 80 keys, is not adopted yet: its tensor maps would have to be made on the host for
//   each tensor, and emulated. In the project's own benchmark (commit 8c906c2e) this order takes 35.7 / 247 (torch's
//   sdpa in the same run 37.5 / 245): 128 registers without spills, and 380 instructions per tile (123 and 377 in the
//   separate program). The path for exponents above 2^24 came later and is not measured: 128 registers without spills,
//   and some 10 more instructions per tile where it is not taken.
#include "attention.h"
#include "cuda/kernels/warpgroup.h"

namespace onehead::cuda {

namespace {

constexpr int size = 64, groups = 2, threads = groups * 128, blockRows = groups * 64, tileKeys = 64;
constexpr int stages = 4, ahead = stages - 1;     // tiles in shared memory, and those loaded in advance
constexpr int tileBytes = tileKeys * operandRow;  // of keys or values
constexpr int queryBytes = blockRows * operandRow;

/** Up to here, the rounding error of a score's exponent is below 1. Above it, that of a fused multiply-add would decide
 * how much a weight is, or overflow it, so products are rounded before the highest one is subtracted from them. */
constexpr float largeExponent = 0x1p24f;

/** The softmax of a thread's two rows: scores[n][half * 2 + i] is of row `half` and key n * 8 + quad * 2 + i. */
struct Softmax {
  float scale;  // of scores to exponents of two
  float maximum[2] = {-infinity, -infinity}, highest[2] = {}, factor[2] = {1, 1}, sums[2] = {};
  bool changes = false;  // of any row of the warp: `factor` is for its values
  bool large = false;    // any row's base is above `largeExponent`

  /**
   * Finds the rows' bases. A row's base is its maximum when it was last changed: weights of up to 2^8 are as exact as
   * those of up to 1, and the sums so far seldom need a new base. At least one key is left.
   */
  __device__ void findBases(float (&scores)[8][4], int keysLeft, int quad) {
    if (keysLeft < tileKeys) {
#pragma unroll
      for (int n = 0; n < 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (n * 8 + quad * 2 + i % 2 >= keysLeft) scores[n][i] = -infinity;
    }
    bool mine = false;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      highest[half] = maximum[half];
#pragma unroll
      for (int n = 0; n < 8; ++n)
        highest[half] = fmaxf(highest[half], fmaxf(scores[n][half * 2], scores[n][half * 2 + 1]));
      highest[half] = warpMax<4>(highest[half]);
      mine |= (highest[half] - maximum[half]) * scale > 8;
    }
    changes = __ballot_sync(allLanes, mine) != 0;
    if (!changes) return;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      factor[half] = exp2Fast((maximum[half] - highest[half]) * scale);
      maximum[half] = highest[half];
      sums[half] *= factor[half];
    }
    large = __ballot_sync(allLanes, fmaxf(fabsf(maximum[0]), fabsf(maximum[1])) * scale > largeExponent) != 0;
  }
  /** Replaces scores by weights. */
  __device__ void exponentiate(float (&scores)[8][4]) {
    const float base[2] = {maximum[0] * scale, maximum[1] * scale};
    float scaleLeft = scale;
    if (large) {
#pragma unroll
      for (int n = 0; n < 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) scores[n][i] *= scale;
      scaleLeft = 1;
    }
#pragma unroll
    for (int n = 0; n < 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        scores[n][i] = exp2Fast(fmaf(scores[n][i], scaleLeft, -base[i / 2]));
        sums[i / 2] += scores[n][i];
      }
  }
  /** Relates the values so far to the new bases. */
  __device__ void rescale(float (&values)[8][4]) const {
    if (!changes) return;
#pragma unroll
    for (int n = 0; n < 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) values[n][i] *= factor[i / 2];
  }
};

template <class T>
__global__ void __launch_bounds__(threads, 2) warpgroupKernel(const __grid_constant__ AttentionArguments a) {
  ONEHEAD_SHARED(std::byte, shared);  // queries, and stages of keys and values
  const int thread = int(threadIdx.x), lane = thread % 32, quad = lane % 4;
  const int warp = __shfl_sync(allLanes, thread / 32, 0);  // known to be the same for all lanes
  const int64_t b = blockIdx.z, keyHead = blockIdx.y;
  const int headsPerGroup = int(a.heads / a.keyValueHeads), rows = int(a.queries) * headsPerGroup, keys = int(a.keys);
  const int row0 = int(blockIdx.x) * blockRows + warp * 16 + lane / 4;  // the thread's other row is row0 + 8
  letNextKernelStart();
  waitForPreviousKernel();

  const int column = thread % 8;  // each thread copies one 16-byte chunk of every 32nd row
  const T* keyOf = static_cast<const T*>(a.k.data) + b * a.k.batchStride + keyHead * size;
  const T* valueOf = static_cast<const T*>(a.v.data) + b * a.v.batchStride + keyHead * size;
  auto keyTile = [&](int tile) { return shared + queryBytes + tile % stages * 2 * tileBytes; };
  auto load = [&](int tile) {
    std::byte* to = keyTile(tile);
#pragma unroll
    for (int i = 0; i < tileKeys / 32; ++i) {
      const int row = thread / 8 + i * 32, key = tile * tileKeys + row;
      const bool valid = key < keys;
      const int place = valid ? key : 0;
      copyAsync16(to + chunkOffset(row, column), keyOf + (place * a.k.rowStride + column * 8), valid ? 16 : 0);
      copyAsync16(to + tileBytes + chunkOffset(row, column), valueOf + (place * a.v.rowStride + column * 8),
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

  const std::byte* queries = shared + warp / 4 * 64 * operandRow;  // of this warpgroup
  float values[8][4] = {}, scores[8][4] = {};
  uint32_t weights[4][4];
  auto issueScores = [&](int tile) {
#pragma unroll
    for (int k = 0; k < 4; ++k)
      multiplyGroup<T>(scores, describeOperand(queries + k * 32), describeOperand(keyTile(tile) + k * 32), k > 0);
    commitProducts();
  };
  auto issueValues = [&](int tile) {
    const std::byte* valueTile = keyTile(tile) + tileBytes;
#pragma unroll
    for (int k = 0; k < 4; ++k)
      multiplyGroup<T, true>(values, weights[k], describeOperand(valueTile + k * 16 * operandRow), true);
    commitProducts();
  };
  auto packWeights = [&] {
#pragma unroll
    for (int n = 0; n < 8; ++n)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        weights[n / 2][n % 2 * 2 + half] = makePair<T>(scores[n][half * 2], scores[n][half * 2 + 1]);
  };

  Softmax softmax{a.scale * log2E};
  waitForCopies<ahead - 1>();
  shareWithMatrixUnit();
  __syncthreads();
  fenceOperands();
  issueScores(0);
  waitForProducts<0>();
  pinRegisters(scores);
  softmax.findBases(scores, keys, quad);
  softmax.exponentiate(scores);
  packWeights();
  // No product is in flight over the loop's end: where other instructions write its accumulators, ptxas would serialize
  // all products (-Xptxas -v shows a warning C75xx).
#pragma unroll 1
  for (int tile = 0; tile < tiles - 1; ++tile) {
    waitForCopies<ahead - 2>();
    shareWithMatrixUnit();
    __syncthreads();
    fenceOperands();
    issueScores(tile + 1);
    issueValues(tile);
    waitForProducts<1>();
    pinRegisters(scores);
    softmax.findBases(scores, keys - (tile + 1) * tileKeys, quad);
    softmax.exponentiate(scores);
    pinRegisters(scores);
    // The overwritten stage was read for the previous tile; all threads waited for its products before the barrier.
    // This branch stands here because ptxas 13.0 moves the exponentials behind the wait below if there is none.
    if (tile + ahead < tiles) load(tile + ahead);
    commitCopies();
    waitForProducts<0>();
    pinRegisters(scores);
    pinRegisters(values);
    softmax.rescale(values);
    packWeights();
  }
  fenceOperands();
  issueValues(tiles - 1);
  waitForProducts<0>();
  pinRegisters(values);

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = softmax.sums[half];
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
