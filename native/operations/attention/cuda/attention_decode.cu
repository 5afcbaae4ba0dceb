// split-kv for one query row per key/value head: a multi-head decode step. Several rows per key/value head are computed
// by attention_streaming.cu, whose tensor cores reuse each key for all of them.
//
// Shapes   q [batch, 1, heads, size], k and v [batch, keys, heads, size] -> y [batch, 1, heads, size]
// Launch   grid (splits, heads, batch), 128 threads; shared memory: one partial result per warp and a flag, at most
//          2.1 KB
// Bytes    2 keys x size elements per head, read once; everything else is small
// Work     2 multiply-adds per key element and 1/size exponentials: one operation per byte, far below the GPU's ratio
// Method   Flash-Decoding: the keys of a head are split over enough blocks to fill the GPU. Eight lanes read a row of
//          64 half-precision elements, 16 bytes each, so a warp reads 4 rows at once; it has the keys and values of 16
//          rows in flight before it uses the first. Each lane group keeps its own maximum, sum and weighted values.
//          They are combined with shuffles in the warp, in shared memory in the block, and by the last block of a head
//          across blocks, with threads over pairs of columns and splits. A head with few visible keys has one block,
//          and nothing to combine.
// Append   The new row is read from where it was computed, never from the cache. So the block whose split contains it
//          can write it to the cache in the same launch without synchronization.
//
// History
//   Measured on an H200 at commit 1dabc91 (20 heads of 64, float16; microseconds at batch 1 / 8 / 32): cross-attention
//   over 1,500 keys 9.3 / 27.2 / 72.5 (87% of bandwidth at 32), self-attention at 65 positions 5.7 / 6.7 / 12.5. At
//   that commit a head had two blocks from 65 keys on, and each thread of the last block combined one column of up to
//   24 splits: a chain of loads from the L2 cache. In a separate test program, a cluster of 8 blocks per head that
//   combined through distributed shared memory took 4.55 for cross-attention at batch 1, and 4.2 with keys prefetched
//   before the wait; not tried in this kernel.
//   Changed since, never measured: the last block loads columns of several splits at once; up to `singleBlockKeys` keys
//   have one block; the first 64 keys and values of each split are loaded before the previous kernel has ended, if no
//   kernel of the program writes them. Predicted: cross-attention about 7.5 at batch 1 (two dependent loads instead of
//   some 24) and unchanged from batch 8 on; about 6 at batch 1 after another kernel, whose time hides the prefetch;
//   self-attention at 65 positions about 4 at batch 1.
//   int8 caches, never measured: a lane reads 8 bytes and a scale, so a warp still reads 4 rows at once with half the
//   bytes. Every warp quantizes the new row for itself, and one writes it. Scales of neighbouring heads share a sector:
//   they add 6% to the bytes from memory, and 50% to those from the L2 cache. Predicted: cross-attention 5.2 at batch
//   1, 38.5 at 32 (131 MB at the measured 87%). Conversion takes about 22 instructions per warp and key: 29 us at batch
//   32 if all schedulers issue all the time.
//   Registers for 90a: 72 to 80 (int8 76 and 80) of the 80 that six blocks per multiprocessor leave; no spills.
#include "attention_running.h"
#include "cuda/kernels/bytes.h"

namespace onehead::cuda {

namespace {

constexpr int threads = 128, warps = threads / 32;
constexpr int rowsInFlight = 4;
/** Blocks per multiprocessor that splitting aims at: more than the six that fit, so that none idles if splits are
 * uneven. Not tuned on a GPU. */
constexpr int blocksPerMultiprocessor = 8;
/** The rows that a block has in flight: 4 warps x 4 rows x `rowsInFlight`. */
constexpr int minKeysPerSplit = 64;

/** Loads `Count` elements, a multiple of 16 bytes. */
template <class T, int Count>
__device__ inline void loadElements(const T* from, float (&values)[Count]) {
#pragma unroll
  for (int part = 0; part < Count / vectorSize<T>; ++part) {
    float vectorValues[vectorSize<T>];
    unpack<T>(reinterpret_cast<const uint4*>(from)[part], vectorValues);
#pragma unroll
    for (int i = 0; i < vectorSize<T>; ++i) values[part * vectorSize<T> + i] = vectorValues[i];
  }
}

/** A lane's elements of a key or value in a cache of type C: 16 bytes, or 8 int8 and the scale of their head. */
template <class C>
struct CacheVector {
  static constexpr int elements = vectorSize<C>;
  uint4 raw;
  __device__ void load(const C* at) { raw = loadStreaming16(at); }
  __device__ void values(float (&to)[elements]) const { unpack<C>(raw, to); }
  __device__ float factor() const { return 1.0f; }
};
template <>
struct CacheVector<int8_t> {
  static constexpr int elements = 8;
  uint2 raw;
  float scale;
  __device__ void load(const int8_t* at, const float* factor) {
    raw = loadStreaming8(at);
    scale = *factor;
  }
  __device__ void values(float (&to)[elements]) const {
    float low[4], high[4];
    widenBytes(raw.x, low);
    widenBytes(raw.y, high);
#pragma unroll
    for (int i = 0; i < 4; ++i) to[i] = low[i], to[i + 4] = high[i];
  }
  __device__ float factor() const { return scale; }
  /** Quantizes elements of a head that `Lanes` lanes hold. */
  template <int Lanes>
  __device__ void quantize(const float (&from)[elements]) {
    Extent extent;
#pragma unroll
    for (int i = 0; i < elements; ++i) extent.look(from[i]);
    const RowScale row = scaleOf(warpExtent<Lanes>(extent));
    int rounded[elements];
#pragma unroll
    for (int i = 0; i < elements; ++i) rounded[i] = quantized(from[i], row);
    raw = {packBytes(rounded[0], rounded[1], rounded[2], rounded[3]),
           packBytes(rounded[4], rounded[5], rounded[6], rounded[7])};
    scale = row.scale;
  }
};

/** A key or value of an entry. Pool ranges and cache rows are separate kernels, each without the other's registers:
 * 80 registers are the limit for six blocks per multiprocessor. */
template <class T, bool Ranges>
__device__ inline const T* rowPointer(const AttentionArguments& a, const AttentionView& all,
                                      const AttentionView& appended, int64_t b, int key, const Entry& entry) {
  if constexpr (Ranges)
    return static_cast<const T*>(all.data) + int64_t(entry.first + key) * all.rowStride;
  else
    return keyRow<T>(a, all, appended, b, key, entry);
}

/** The index of the flag in shared memory, in floats. Before it: the warps' partial results, or two columns per
 * thread. */
__host__ __device__ inline int flagIndex(int size) { return max(warps * int(partialSize(size)), threads * 2); }

/** Combines the splits of a head: threads take pairs of columns and every groups-th split. */
template <class T>
__device__ inline void joinSplits(T* y, const float* parts, int splits, int size, float* shared) {
  constexpr int splitsPerPass = 8;
  const int thread = int(threadIdx.x), lane = thread % 32, pairs = size / 2, groups = threads / pairs;
  const int pair = thread % pairs, group = thread / pairs;
  const int64_t part = partialSize(size);
  const float splitFactor = loadSplitFactor(parts, part, splits, size, lane);
  float2 sum = make_float2(0.0f, 0.0f);
  for (int first = group; first - group < splits; first += splitsPerPass * groups) {
    float2 values[splitsPerPass];
#pragma unroll
    for (int u = 0; u < splitsPerPass; ++u) {
      const int i = first + u * groups;
      values[u] = group < groups && i < splits
                      ? loadUncached(reinterpret_cast<const float2*>(parts + i * part + 2 * pair))
                      : make_float2(0.0f, 0.0f);
    }
#pragma unroll
    for (int u = 0; u < splitsPerPass; ++u) {
      const float factor = __shfl_sync(allLanes, splitFactor, (first + u * groups) % 32);
      sum.x = fmaf(values[u].x, factor, sum.x);
      sum.y = fmaf(values[u].y, factor, sum.y);
    }
  }
  if (group < groups) {
    shared[group * size + 2 * pair] = sum.x;
    shared[group * size + 2 * pair + 1] = sum.y;
  }
  __syncthreads();
  if (thread >= size) return;
  float total = 0;
  for (int g = 0; g < groups; ++g) total += shared[g * size + thread];
  y[thread] = fromFloat<T>(total);
}

/** Resident blocks per multiprocessor that the kernel is compiled for: six leave 80 registers. Before compute
 * capability 9.0 the kernel needs a few more than that. */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
constexpr int residentBlocks = 5;
#else
constexpr int residentBlocks = 6;
#endif

/** C is the cache's type: T or int8_t. P is the head size rounded up to 64 or 128. */
template <class T, class C, int P, bool Ranges>
__global__ void __launch_bounds__(threads, residentBlocks) decodeKernel(const __grid_constant__ AttentionArguments a) {
  constexpr bool bytes = std::is_same_v<C, int8_t>;
  constexpr int vector = CacheVector<C>::elements, lanes = P / vector, rowsPerWarp = 32 / lanes,
                step = rowsPerWarp * warps;
  ONEHEAD_SHARED(float, shared);  // see flagPlace
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int64_t b = blockIdx.z, head = blockIdx.y, split = blockIdx.x;
  const int size = int(a.headSize), part = int(partialSize(size)), chunk = lane % lanes * vector;
  letNextKernelStart();
  if (!a.keysUnchanged) waitForPreviousKernel();
  const Entry entry = Ranges ? entryOfRange(a, b) : entryOfRow(a, b);
  const int start = entry.start, limit = entry.keys;
  auto output = [&] { return static_cast<T*>(const_cast<void*>(a.y.data)) + b * a.y.batchStride + head * size; };
  if (limit == 0) {  // nothing is visible: the output is zero
    waitForPreviousKernel();
    if (split == 0 && thread < size) output()[thread] = fromFloat<T>(0.0f);
    return;
  }
  // Blocks without work wait too: the next kernel's wait for this one must imply that all earlier ones have ended.
  if (Ranges && rangeGroupSize(a, b) != 1) return waitForPreviousKernel();
  const int perSplit = limit <= singleBlockKeys
                           ? singleBlockKeys
                           : divideUp(divideUp(limit, int(gridDim.x)), minKeysPerSplit) * minKeysPerSplit;
  const int splits = int(divideUp(limit, perSplit));
  if (split >= splits) return waitForPreviousKernel();
  const int begin = int(split) * perSplit, end = min(limit, begin + perSplit);
  const bool holdsElements = chunk < size;  // false for the padding lanes of a head that is narrower than P

  CacheVector<C> k[rowsInFlight], v[rowsInFlight];
  CacheVector<C> newKey, newValue;  // int8 caches: the new row, quantized
  const int firstKey = begin + warp * rowsPerWarp + lane / lanes;
  auto fetch = [&](int key0) {
#pragma unroll
    for (int u = 0; u < rowsInFlight; ++u) {
      const int key = key0 + u * step;
      if (!holdsElements || key >= end) continue;
      const int64_t at = head * size + chunk;
      if constexpr (!bytes) {
        k[u].load(rowPointer<T, Ranges>(a, a.k, a.newKey, b, key, entry) + at);
        v[u].load(rowPointer<T, Ranges>(a, a.v, a.newValue, b, key, entry) + at);
      } else if (!Ranges && a.newKey.data && key == start) {
        k[u] = newKey;
        v[u] = newValue;
      } else {
        const int64_t position = Ranges ? entry.first + key : cachePosition(a, key, entry),
                      scale = position * a.heads + head;
        k[u].load(static_cast<const C*>(a.k.data) + position * a.k.rowStride + at, a.keyScales + scale);
        v[u].load(static_cast<const C*>(a.v.data) + position * a.v.rowStride + at, a.valueScales + scale);
      }
    }
  };
  if constexpr (Ranges) fetch(firstKey);
  waitForPreviousKernel();

  float query[vector] = {};
  if (holdsElements) {
    loadElements<T>(static_cast<const T*>(a.q.data) + b * a.q.batchStride + head * size + chunk, query);
#pragma unroll
    for (int i = 0; i < vector; ++i) query[i] *= a.scale * log2E;
  }
  if constexpr (bytes && !Ranges) {
    if (a.newKey.data) {
      float newRow[2][vector] = {};
#pragma unroll
      for (int which = 0; which < 2; ++which) {
        const AttentionView& from = which ? a.newValue : a.newKey;
        if (holdsElements)
          loadElements<T>(static_cast<const T*>(from.data) + b * from.batchStride + head * size + chunk, newRow[which]);
      }
      newKey.template quantize<lanes>(newRow[0]);
      newValue.template quantize<lanes>(newRow[1]);
    }
  }

  float* scoreOutput = scoresOf(a, b, 0, head);
  Running<vector> running;
  for (int key0 = firstKey; key0 - lane / lanes < end; key0 += rowsInFlight * step) {
    if (!Ranges || key0 != firstKey) fetch(key0);
    float scores[rowsInFlight], newMaximum = running.maximum;
#pragma unroll
    for (int u = 0; u < rowsInFlight; ++u) {
      float score = 0, values[vector];
      if (holdsElements && key0 + u * step < end) {
        k[u].values(values);
#pragma unroll
        for (int i = 0; i < vector; ++i) score = fmaf(query[i], values[i], score);
        if constexpr (bytes) score *= k[u].factor();
      }
      score = warpSum<lanes>(score);
      scores[u] = key0 + u * step < end ? score : -infinity;
      newMaximum = fmaxf(newMaximum, scores[u]);
      if (scoreOutput && lane % lanes == 0 && key0 + u * step < min(end, int(a.scoreKeys)))
        scoreOutput[key0 + u * step] = score * ln2;
    }
    if (newMaximum == -infinity) continue;
    running.rescale(newMaximum);
#pragma unroll
    for (int u = 0; u < rowsInFlight; ++u) {
      if (!holdsElements || key0 + u * step >= end) continue;
      float values[vector];
      v[u].values(values);
      running.add(exp2Fast(scores[u] - newMaximum), values, v[u].factor());
    }
  }

  // Append the new row to the cache.
  if (!Ranges && a.newKey.data && warp == 0 && lane < lanes && holdsElements && start >= 0 && start < a.keys &&
      (start >= begin && (start < begin + perSplit || split == splits - 1))) {
    const int64_t at = head * size + chunk;
    for (int which = 0; which < 2; ++which) {
      const AttentionView &from = which ? a.newValue : a.newKey, &to = which ? a.v : a.k;
      if constexpr (bytes) {
        const int64_t position = entry.keyRow * a.keys + start;
        const CacheVector<C>& newRow = which ? newValue : newKey;
        C* row = static_cast<C*>(const_cast<void*>(to.data)) + position * to.rowStride + at;
        *reinterpret_cast<uint2*>(row) = newRow.raw;
        if (lane == 0) (which ? a.valueScales : a.keyScales)[position * a.heads + head] = newRow.factor();
        continue;
      }
      T* row = static_cast<T*>(const_cast<void*>(to.data)) + entry.keyRow * to.batchStride + start * to.rowStride + at;
      *reinterpret_cast<uint4*>(row) =
          *reinterpret_cast<const uint4*>(static_cast<const T*>(from.data) + b * from.batchStride + at);
    }
  }

  combineGroups<lanes>(running);
  storePart<lanes>(shared + warp * part, running, lane, chunk, size);
  __syncthreads();

  const int64_t row = b * a.heads + head;
  T* y = output();
  // Combine the warps' results; every warp computes the warps' weights for itself.
  const float* state = shared + lane * part + size;
  const float partMaximum = lane < warps ? state[0] : -infinity, partSum = lane < warps ? state[1] : 0.0f;
  const float maximum = warpMax(partMaximum);
  const float factor = partMaximum == -infinity ? 0.0f : exp2Fast(partMaximum - maximum),
              sum = warpSum(partSum * factor);
  float value = 0;
#pragma unroll
  for (int w = 0; w < warps; ++w) {
    const float partFactor = __shfl_sync(allLanes, factor, w);
    if (thread < size) value = fmaf(shared[w * part + thread], partFactor, value);
  }
  if (splits == 1) {
    if (thread < size) y[thread] = fromFloat<T>(value / sum);
    return;
  }
  float* parts = static_cast<float*>(a.scratch) + row * gridDim.x * part;
  if (thread < size) parts[split * part + thread] = value;
  if (thread == 0) {
    parts[split * part + size] = maximum;
    parts[split * part + size + 1] = sum;
  }
  if (!isLastBlock(a.counters + row, splits, reinterpret_cast<int*>(shared + flagIndex(size)))) return;
  joinSplits(y, parts, splits, size, shared);
  if (thread == 0) a.counters[row] = 0;
}

int64_t splitsOf(const AttentionArguments& a, const Launcher& launcher) {
  return splitsFor(a.keys, minKeysPerSplit, a.batch * a.heads, blocksPerMultiprocessor, launcher);
}

}  // namespace

bool decodeFits(const AttentionArguments& a) { return a.queries == 1 && a.heads == a.keyValueHeads; }

Needs decodeNeeds(const AttentionArguments& a, const Launcher& launcher) {
  const int64_t splits = splitsOf(a, launcher), rows = a.batch * a.heads;
  if (splits == 1) return {};
  return {size_t(rows * splits * partialSize(a.headSize)) * sizeof(float), size_t(rows)};
}

cudaError_t decodeAttention(const AttentionArguments& a, const Launcher& launcher) {
  const dim3 grid(unsigned(splitsOf(a, launcher)), unsigned(a.heads), unsigned(a.batch));
  const size_t bytes = size_t(flagIndex(int(a.headSize)) + 1) * sizeof(float);
  return withType(a.type, [&](auto element) {
    using T = decltype(element);
    auto start = [&](auto kernel) { return launch(launcher, kernel, grid, dim3(threads), bytes, a); };
    auto sized = [&](auto cached) {
      using C = decltype(cached);
      if (a.headSize <= 64) return start(a.keyBegin ? decodeKernel<T, C, 64, true> : decodeKernel<T, C, 64, false>);
      return start(a.keyBegin ? decodeKernel<T, C, 128, true> : decodeKernel<T, C, 128, false>);
    };
    return a.keyScales ? sized(int8_t{}) : sized(element);
  });
}

}  // namespace onehead::cuda
