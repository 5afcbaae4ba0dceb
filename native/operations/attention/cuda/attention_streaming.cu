// memory-efficient, and split-kv with several rows per key/value head where attention_cluster.cu does not compute it:
// streaming softmax on tensor cores.
//
// Shapes   the rows of a key/value head are (query, head of its group): queries x heads / keyValueHeads. In a
//          multi-query decode step all heads are rows, in an encoder all positions; beams with the same keys are rows
//          too.
// Launch   grid (row tiles x splits, key/value heads, batch); 2 or 4 warps, each with 16 or 32 rows; shared memory
//          36 KB for half types and heads of up to 64, see Shape
// Bytes    each block reads the keys and values that its rows see, once; nothing quadratic is written
// Work     4 size multiply-adds and one exponential per score
// Method   FlashAttention 2: tiles of keys and values are copied to shared memory with cp.async, double-buffered.
//          Scores come from tensor cores; four lanes share a row's maximum and sum; the weights go from accumulator
//          registers straight to the operand registers of the second product. With few rows the keys are split over
//          blocks, and the last block of a row tile combines them (Flash-Decoding): first each row's split factors, one
//          lane per split, then four columns of a row per thread, loading its splits at once.
// Ranges   neighbouring entries with the same range of a pool become rows of the first entry's blocks (split-kv only);
//          the other entries' blocks exit.
// Append   new rows are read from where they were computed; the blocks of the first row tile write them to the cache.
//
// History
//   Measured on an H200 at commit 1dabc91 (20 heads of 64 with one key/value head, float16; microseconds at batch 1 / 8
//   / 32): cross-attention over 1,500 keys 67.5 / 72.9 / 46.8, while 20 key/value heads (attention_decode.cu) took 9.3
//   / 27.2 / 72.5; self-attention at 65 positions 23.7 / 25.3 / 26.3. At that commit the last block combined 24 splits
//   of 20 rows, one row and column after another, each a chain of loads from the L2 cache: some 60 of the 67 us.
//   Measured at commit 08120539, with independent loads of a row's splits, splits of at least two tiles, and one block
//   for up to `singleBlockKeys` keys: 13.7 and about 19 at batch 1 and 32, and 6.8 for self-attention at 64 positions,
//   since a tile takes a warp about 2 (predicted had been 6, 8 to 9, and 3). attention_cluster.cu and
//   attention_decode.cu now compute these shapes on GPUs with clusters.
//   Encoder (1,500 positions, 20 heads): 74.5 measured, torch's sdpa 37.7. attention_warpgroup.cu replaces this kernel
//   there on compute capability 9.0.
//   int8 caches (commit 8c906c2e, one key/value head: 17.3 at batch 8, 19.8 at 32): tiles are copied as bytes,
//   double-buffered, and converted with their scales in shared memory, which costs one more pass and barrier per tile.
//   Predicted: about 0.4 us more per tile of 64 keys than half types. With one key/value head that is more than the
//   saved bytes gain; int8 is there for its memory.
//   Registers for 90a and half types: 153 to 158 for heads up to 64 with 16 rows per warp, 215 to 217 for larger heads,
//   255 with 32 rows per warp, 168 to 226 for int8 caches; no spills.
#include "cuda/kernels/tensor_core.h"
#include "streaming_parts.h"

namespace onehead::cuda {

namespace {

/** Blocks per multiprocessor that splitting aims at: as many as registers allow with 16 rows per warp. Not tuned on a
 * GPU. */
constexpr int blocksPerMultiprocessor = 4;
/** The fewest tiles of a split: combining half as many splits saves more than the second tile costs. */
constexpr int minTilesPerSplit = 2;

/** C is the cache's type: T or int8_t. P is the head size rounded up to 64 or 128. */
template <class T, class C, int P, int Warps, int MTiles>
struct Shape {
  static constexpr bool bytes = std::is_same_v<C, int8_t>;
  static constexpr int threads = Warps * 32, rows = Warps * MTiles * 16;
  static constexpr int keys = std::is_same_v<T, float> && P == 128 ? 32 : 64;
  static constexpr int stride = P + vectorSize<T>;  // padded row: avoids bank conflicts
  static constexpr int tile = keys * stride;
  // Two stages of keys and values; for int8 one widened tile of each, two stages of bytes, and the scales.
  static constexpr int raw = keys * P;
  static constexpr size_t tileBytes = size_t(bytes ? 2 : 4) * tile * sizeof(T);
  static constexpr size_t sharedBytes = tileBytes + (bytes ? size_t(4) * raw + size_t(2) * keys * sizeof(float) : 0);
  static_assert(sharedBytes >= size_t(rows) * maxSplits * sizeof(float));
};

template <class T, class C, int P, int Warps, int MTiles, bool WritesScores>
__global__ void __launch_bounds__(Warps * 32, 1)
    streamingKernel(const __grid_constant__ AttentionArguments a, int splitsOfGrid, RangeGroups groups) {
  using S = Shape<T, C, P, Warps, MTiles>;
  constexpr int vector = vectorSize<T>, chunks = P / vector, depthTiles = P / 16, keyTiles = S::keys / 8;
  ONEHEAD_SHARED(T, shared);
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32, group = lane / 4, quad = lane % 4;
  const int64_t b = blockIdx.z, keyHead = blockIdx.y;
  const int rowTile = int(blockIdx.x) / splitsOfGrid, split = int(blockIdx.x) % splitsOfGrid;
  const int headsPerGroup = int(a.heads / a.keyValueHeads), rowsOfEntry = int(a.queries) * headsPerGroup,
            size = int(a.headSize);
  letNextKernelStart();
  if (!a.keysUnchanged) waitForPreviousKernel();
  const Entry entry = entryOf(a, b);
  const int start = entry.start;
  if (entry.keys == 0) {  // nothing is visible: the output is zero
    waitForPreviousKernel();
    if (groups.minimum == 1 && int(blockIdx.x) == 0) clearRows<T>(a, b, keyHead);
    return;
  }
  const int groupSize = groups.maximum > 1 ? rangeGroupSize(a, b) : 1;
  // The rows of entries in a group are consecutive.
  const int rows = rowsOfEntry * groupSize, row0 = rowTile * S::rows, lastRow = min(row0 + S::rows, rows) - 1;
  // Blocks without work wait too: the next kernel's wait for this one must imply that all earlier ones have ended.
  if (groupSize < groups.minimum || row0 >= rows) return waitForPreviousKernel();

  // Append the new rows to the cache; the splits share this work.
  if (a.newKey.data && rowTile == 0) {
    const int sizeChunks = size / vector, all = int(a.queries) * sizeChunks * 2;
    for (int i = split * S::threads + thread; i < all; i += splitsOfGrid * S::threads) {
      const int row = i / 2 / sizeChunks;
      const int64_t at = keyHead * size + i / 2 % sizeChunks * vector;
      if (start < 0 || start + row >= a.keys) continue;
      const AttentionView &from = i % 2 ? a.newValue : a.newKey, &to = i % 2 ? a.v : a.k;
      T* cache = static_cast<T*>(const_cast<void*>(to.data)) + entry.keyRow * to.batchStride +
                 (start + row) * to.rowStride + at;
      *reinterpret_cast<uint4*>(cache) = *reinterpret_cast<const uint4*>(
          static_cast<const T*>(from.data) + b * from.batchStride + row * from.rowStride + at);
    }
  }

  const int limit = visibleKeys(a, entry, lastRow / headsPerGroup);  // the block's last row sees the most keys
  const int tiles = divideUp(limit, S::keys);
  const int perSplit = limit <= singleBlockKeys ? tiles : max(divideUp(tiles, splitsOfGrid), minTilesPerSplit);
  const int splits = divideUp(tiles, perSplit), firstTile = split * perSplit;
  if (split >= splits) return waitForPreviousKernel();
  const int endTile = min(tiles, firstTile + perSplit);

  // int8: raw tiles, and the scales of keys and then values, which pass through registers to shared memory.
  constexpr int perThread = divideUp(2 * S::keys, S::threads);
  int8_t* const raw = reinterpret_cast<int8_t*>(shared) + S::tileBytes;
  float* const factors = reinterpret_cast<float*>(raw + 4 * S::raw);
  float nextFactors[perThread];
  auto loadBytes = [&](int tile, int stage) {
    int8_t* to = raw + stage * 2 * S::raw;
    for (int chunk = thread; chunk < S::keys * (P / 16); chunk += S::threads) {
      const int row = chunk / (P / 16), column = chunk % (P / 16) * 16, key = tile * S::keys + row;
      const bool valid = key < limit && column < size;
      const int64_t at = valid ? cachePosition(a, key, entry) : 0, element = keyHead * size + column;
      const auto *k = static_cast<const int8_t*>(a.k.data), *v = static_cast<const int8_t*>(a.v.data);
      copyAsync16(to + row * P + column, valid ? k + at * a.k.rowStride + element : k, valid ? 16 : 0);
      copyAsync16(to + S::raw + row * P + column, valid ? v + at * a.v.rowStride + element : v, valid ? 16 : 0);
    }
#pragma unroll
    for (int i = 0; i < perThread; ++i) {
      const int index = thread + i * S::threads, key = tile * S::keys + index % S::keys;
      const float* scales = index < S::keys ? a.keyScales : a.valueScales;
      nextFactors[i] =
          index < 2 * S::keys && key < limit ? scales[cachePosition(a, key, entry) * a.keyValueHeads + keyHead] : 0.0f;
    }
  };
  auto load = [&](int tile, int stage) {
    if constexpr (S::bytes) return loadBytes(tile, stage);
    T* keyTile = shared + stage * 2 * S::tile;
    for (int chunk = thread; chunk < S::keys * chunks; chunk += S::threads) {
      const int row = chunk / chunks, column = chunk % chunks * vector, key = tile * S::keys + row;
      const bool valid = key < limit && column < size;
      const int64_t at = keyHead * size + column;
      const T* k = valid ? keyRow<T>(a, a.k, a.newKey, b, key, entry) + at : static_cast<const T*>(a.k.data);
      const T* v = valid ? keyRow<T>(a, a.v, a.newValue, b, key, entry) + at : static_cast<const T*>(a.v.data);
      copyAsync16(keyTile + row * S::stride + column, k, valid ? 16 : 0);
      copyAsync16(keyTile + S::tile + row * S::stride + column, v, valid ? 16 : 0);
    }
  };
  load(firstTile, 0);
  commitCopies();
  waitForPreviousKernel();

  // This thread's rows: `group` and `group + 8` of each of its warp's tiles of 16 rows.
  int visible[MTiles][2];  // visible keys of each row
  Pair<T> query[MTiles][depthTiles][4];
#pragma unroll
  for (int m = 0; m < MTiles; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = row0 + (warp * MTiles + m) * 16 + half * 8 + group;
      const int i = min(row, rows - 1) / headsPerGroup,
                head = int(keyHead) * headsPerGroup + min(row, rows - 1) % headsPerGroup;
      visible[m][half] = row < rows ? visibleKeys(a, entry, i) : 0;
      const T* q = static_cast<const T*>(a.q.data) + b * a.q.batchStride + i * a.q.rowStride + head * size;
#pragma unroll
      for (int k = 0; k < depthTiles; ++k)
#pragma unroll
        for (int part = 0; part < 2; ++part) {
          const int column = k * 16 + part * 8 + quad * 2;
          query[m][k][part * 2 + half] =
              column < size ? *reinterpret_cast<const Pair<T>*>(q + column) : makePair<T>(0.0f, 0.0f);
        }
    }

  float values[MTiles][P / 8][4] = {}, maximum[MTiles][2], sums[MTiles][2] = {};
#pragma unroll
  for (int m = 0; m < MTiles; ++m) maximum[m][0] = maximum[m][1] = -infinity;
  const float scale = a.scale * log2E;

  for (int tile = firstTile; tile < endTile; ++tile) {
    const int stage = (tile - firstTile) & 1;
    if constexpr (S::bytes) {
#pragma unroll
      for (int i = 0; i < perThread; ++i)
        if (thread + i * S::threads < 2 * S::keys) factors[thread + i * S::threads] = nextFactors[i];
    }
    if (tile + 1 < endTile) load(tile + 1, stage ^ 1);
    commitCopies();
    waitForCopies<1>();
    __syncthreads();
    const T* keyTile = shared + (S::bytes ? 0 : stage * 2 * S::tile);
    const T* valueTile = keyTile + S::tile;
    if constexpr (S::bytes) {
      const int8_t* from = raw + stage * 2 * S::raw;
      widenTile<T, P, S::threads, S::keys, S::stride, false>(shared, from, factors);
      widenTile<T, P, S::threads, S::keys, S::stride, true>(shared + S::tile, from + S::raw, factors + S::keys);
      __syncthreads();
    }

    float scores[MTiles][keyTiles][4] = {};
#pragma unroll
    for (int k = 0; k < depthTiles; ++k)
#pragma unroll
      for (int n = 0; n < keyTiles; n += 2) {
        Pair<T> keys[2][2];
        loadB<T>(keys, keyTile + n * 8 * S::stride + k * 16, S::stride);
#pragma unroll
        for (int m = 0; m < MTiles; ++m) {
          multiply<T>(scores[m][n], query[m][k], keys[0]);
          multiply<T>(scores[m][n + 1], query[m][k], keys[1]);
        }
      }

    // Scales of keys multiply scores, not keys: a key times its scale, rounded to T, would give a large score an error
    // that changes its weight.
    if constexpr (S::bytes) {
#pragma unroll
      for (int n = 0; n < keyTiles; ++n) {
        const float2 two = *reinterpret_cast<const float2*>(factors + n * 8 + quad * 2);
#pragma unroll
        for (int m = 0; m < MTiles; ++m)
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            scores[m][n][half * 2] *= two.x;
            scores[m][n][half * 2 + 1] *= two.y;
          }
      }
    }

    if constexpr (WritesScores)
      writeScores<MTiles, keyTiles>(a, b, scores, visible, rows, row0 + warp * MTiles * 16, tile * S::keys);

#pragma unroll
    for (int m = 0; m < MTiles; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float newMaximum = maximum[m][half];
#pragma unroll
        for (int n = 0; n < keyTiles; ++n)
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            float& score = scores[m][n][half * 2 + i];
            const int key = tile * S::keys + n * 8 + quad * 2 + i;
            score = key < visible[m][half] ? score * scale : -infinity;
            newMaximum = fmaxf(newMaximum, score);
          }
        newMaximum = warpMax<4>(newMaximum);
        const float base = newMaximum == -infinity ? 0.0f : newMaximum;  // the row has seen no key yet
        const float factor = exp2Fast(maximum[m][half] - base);
        maximum[m][half] = newMaximum;
        float sum = 0;
#pragma unroll
        for (int n = 0; n < keyTiles; ++n)
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            float& score = scores[m][n][half * 2 + i];
            score = exp2Fast(score - base);
            sum += score;
          }
        sums[m][half] = sums[m][half] * factor + sum;
#pragma unroll
        for (int n = 0; n < P / 8; ++n) {
          values[m][n][half * 2] *= factor;
          values[m][n][half * 2 + 1] *= factor;
        }
      }

#pragma unroll
    for (int k = 0; k < keyTiles / 2; ++k) {
      Pair<T> weights[MTiles][4];
#pragma unroll
      for (int m = 0; m < MTiles; ++m)
#pragma unroll
        for (int part = 0; part < 4; ++part) {
          const float* pair = scores[m][2 * k + part / 2] + part % 2 * 2;
          weights[m][part] = makePair<T>(pair[0], pair[1]);
        }
#pragma unroll
      for (int n = 0; n < P / 8; n += 2) {
        Pair<T> right[2][2];
        loadBTransposed<T>(right, valueTile + k * 16 * S::stride + n * 8, S::stride);
#pragma unroll
        for (int m = 0; m < MTiles; ++m) {
          multiply<T>(values[m][n], weights[m], right[0]);
          multiply<T>(values[m][n + 1], weights[m], right[1]);
        }
      }
    }
    __syncthreads();  // before the next copy overwrites this stage
  }

  const int64_t firstRow = (keyHead * a.batch + b) * rowsOfEntry;  // index of this entry's first row among all
  const int64_t part = partialSize(size);
#pragma unroll
  for (int m = 0; m < MTiles; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = sums[m][half];
      sum += __shfl_xor_sync(allLanes, sum, 1);
      sum += __shfl_xor_sync(allLanes, sum, 2);
      const int row = row0 + (warp * MTiles + m) * 16 + half * 8 + group;
      if (row >= rows) continue;
      if (splits == 1) {
        const int head = int(keyHead) * headsPerGroup + row % headsPerGroup;
        T* y = static_cast<T*>(const_cast<void*>(a.y.data)) + b * a.y.batchStride +
               row / headsPerGroup * a.y.rowStride + head * size;
        const float factor = 1.0f / sum;
#pragma unroll
        for (int n = 0; n < P / 8; ++n) {
          const int column = n * 8 + quad * 2;
          if (column < size)
            *reinterpret_cast<Pair<T>*>(y + column) =
                makePair<T>(values[m][n][half * 2] * factor, values[m][n][half * 2 + 1] * factor);
        }
      } else {
        float* parts = static_cast<float*>(a.scratch) + ((firstRow + row) * splitsOfGrid + split) * part;
#pragma unroll
        for (int n = 0; n < P / 8; ++n) {
          const int column = n * 8 + quad * 2;
          if (column < size)
            *reinterpret_cast<float2*>(parts + column) =
                make_float2(values[m][n][half * 2], values[m][n][half * 2 + 1]);
        }
        if (quad == 0) *reinterpret_cast<float2*>(parts + size) = make_float2(maximum[m][half], sum);
      }
    }
  if (splits == 1) return;

  const int rowTiles = int(gridDim.x) / splitsOfGrid;
  int32_t* counter = a.counters + (b * a.keyValueHeads + keyHead) * rowTiles + rowTile;
  // Shared memory can be reused: all threads have passed the loop's last barrier.
  if (!isLastBlock(counter, splits, reinterpret_cast<int*>(shared))) return;
  __syncthreads();  // all threads have read the flag
  const float* parts = static_cast<const float*>(a.scratch) + (firstRow + row0) * splitsOfGrid * part;
  joinSplits<T, S::threads>(
      parts, splitsOfGrid, splits, size, lastRow - row0 + 1, reinterpret_cast<float*>(shared), [&](int row) {
        const int groupRow = row0 + row, head = int(keyHead) * headsPerGroup + groupRow % headsPerGroup;
        return static_cast<T*>(const_cast<void*>(a.y.data)) + b * a.y.batchStride +
               groupRow / headsPerGroup * a.y.rowStride + head * size;
      });
  if (thread == 0) *counter = 0;
}

int64_t rowsOf(const AttentionArguments& a) { return a.queries * (a.heads / a.keyValueHeads); }

/** Rows of a block. If entries may be grouped, groups of a window's beams are assumed. */
int64_t blockRows(const AttentionArguments& a, RangeGroups groups) {
  const int64_t rows = rowsOf(a) * min(groups.maximum, expectedBeams);
  if (groups.maximum == 1 && a.type != DType::float32 && a.headSize <= 64 && rows > 64 && !a.scores && !a.keyScales)
    return 128;
  return rows > 32 ? 64 : 32;
}

/** Row tiles of the largest possible group. */
int64_t rowTilesOf(const AttentionArguments& a, RangeGroups groups) {
  return divideUp(rowsOf(a) * min<int64_t>(groups.maximum, a.batch), blockRows(a, groups));
}

int64_t splitsOf(const AttentionArguments& a, bool split, RangeGroups groups, const Launcher& launcher) {
  if (!split) return 1;
  return splitsFor(a.keyLimit, 64 * minTilesPerSplit,
                   divideUp(rowsOf(a), blockRows(a, groups)) * a.keyValueHeads * a.batch, blocksPerMultiprocessor,
                   launcher);
}

template <class T, class C, int P, int Warps, int MTiles>
cudaError_t run(const AttentionArguments& a, int64_t splits, RangeGroups groups, const Launcher& launcher) {
  using S = Shape<T, C, P, Warps, MTiles>;
  const dim3 grid(unsigned(rowTilesOf(a, groups) * splits), unsigned(a.keyValueHeads), unsigned(a.batch));
  auto start = [&](auto kernel) {
    return launch(launcher, kernel, grid, dim3(S::threads), S::sharedBytes, a, int(splits), groups);
  };
  if constexpr (S::bytes) return start(streamingKernel<T, C, P, Warps, MTiles, true>);
  if constexpr (MTiles == 1 && !S::bytes)
    if (a.scores) return start(streamingKernel<T, C, P, Warps, MTiles, true>);
  if constexpr (!S::bytes) return start(streamingKernel<T, C, P, Warps, MTiles, false>);
}

}  // namespace

Needs streamingNeeds(const AttentionArguments& a, bool split, RangeGroups groups, const Launcher& launcher) {
  const int64_t splits = splitsOf(a, split, groups, launcher);
  if (splits == 1) return {};
  const int64_t sequences = a.batch * a.keyValueHeads;
  return {size_t(sequences * rowsOf(a) * splits * partialSize(a.headSize)) * sizeof(float),
          size_t(sequences * rowTilesOf(a, groups))};
}

cudaError_t streamingAttention(const AttentionArguments& a, bool split, RangeGroups groups, const Launcher& launcher) {
  const int64_t splits = splitsOf(a, split, groups, launcher), rows = blockRows(a, groups);
  return withType(a.type, [&](auto element) {
    using T = decltype(element);
    if constexpr (!std::is_same_v<T, float>)
      if (rows == 128) return run<T, T, 64, 4, 2>(a, splits, groups, launcher);
    auto sized = [&](auto cached) {
      using C = decltype(cached);
      if (a.headSize <= 64)
        return rows == 64 ? run<T, C, 64, 4, 1>(a, splits, groups, launcher)
                          : run<T, C, 64, 2, 1>(a, splits, groups, launcher);
      return rows == 64 ? run<T, C, 128, 4, 1>(a, splits, groups, launcher)
                        : run<T, C, 128, 2, 1>(a, splits, groups, launcher);
    };
    return a.keyScales ? sized(int8_t{}) : sized(element);
  });
}

}  // namespace onehead::cuda
