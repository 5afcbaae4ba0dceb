// split-kv for one query row a key/value head: a step of multi-head decoding. (Several rows go to
// attention_streaming.cu, whose tensor cores share each key among them.)
//
// Shapes   q [batch, 1, heads, size], k and v [batch, keys, heads, size] -> y [batch, 1, heads, size]
// Bytes    2 keys x size elements a head, read once; everything else is small
// Work     2 multiply-adds and 1/size exponentials an element: one operation a byte, far below what the device can do
// Method   the keys of a head are split over enough blocks to fill the device (Flash-Decoding). A row of 64 halves is
//          8 lanes of 16 bytes, so a warp reads 4 rows at once, keys and values of 16 rows before it uses the first.
//          Each lane group keeps its own running maximum, sum and weighted values; they are combined over the warp by
//          shuffles, over the block in shared memory, and over blocks by the one that comes last: all of its threads,
//          over columns and parts. A head that sees few keys has one block, and nothing to join.
// Append   the new row is read from where it was computed, never from the cache: so the block whose share it lies in
//          can write it there in the same launch, with nobody waiting.
//
// History
//   H200, commit 1dabc91, 20 heads of 64, float16, microseconds at batch 1 / 8 / 32: cross-attention of 1,500 keys
//   9.3 / 27.2 / 72.5 (87% of bandwidth at 32), self-attention at 65 positions 5.7 / 6.7 / 12.5. A head had two blocks
//   from 65 keys on, and each thread of the last block joined its column alone: up to 24 parts, a chain of loads from
//   the second-level cache. A program of its own took 4.55 for the first with a cluster of 8 blocks a head, joined
//   over distributed shared memory, and 4.2 with keys fetched before the wait: not tried here yet.
//   Now columns x parts are loaded at once, and up to `aloneKeys` keys have one block.
//   Prediction, not measured: cross-attention about 7.5 at batch 1 (two dependent loads in place of some 24) and as
//   before from 8 on; self-attention at 65 positions about 4 at batch 1.
//   The first keys and values (64 of each split) are asked for before the kernel before has ended, where no kernel of
//   the program writes them: cross-attention in a chain about 6 at batch 1, its bytes coming while the query is
//   computed. Registers on 90a: 72 to 80, as before, of the 80 that six blocks leave; no spills.
//   Caches of 8 bits, never timed: 8 bytes and a scale a lane, so a warp still reads 4 rows at once, half the bytes;
//   the new row is quantized by every warp for itself, and written by one. Scales of neighbouring heads share a sector:
//   from memory they add 6%, from the second-level cache half again. Prediction: cross-attention 5.2 at batch 1, 38.5
//   at 32 (131 MB at the 87% measured); widening takes about 22 instructions of a warp a key, 29 us at 32 if all
//   schedulers issued all the time. Registers on 90a: 76 and 80; no spills.
#include "attention_running.h"
#include "cuda/kernels/bytes.h"

namespace onehead::cuda {

namespace {

constexpr int threads = 128, warps = threads / 32;
constexpr int ahead = 4;
/** Blocks of a multiprocessor that a split aims at: more than the six that registers let in, so that none is idle where
 * shares are uneven. Chosen; not compared with others on a card. */
constexpr int blocksPerMultiprocessor = 8;
constexpr int leastKeys = 64;  // of a split: what the block has on its way at once, 4 warps x 4 rows x `ahead`

/** `Count` elements in 16 bytes, or a multiple of that. */
template <class T, int Count>
__device__ inline void loadElements(const T* from, float (&values)[Count]) {
#pragma unroll
  for (int part = 0; part < Count / vectorSize<T>; ++part) {
    float some[vectorSize<T>];
    unpack<T>(reinterpret_cast<const uint4*>(from)[part], some);
#pragma unroll
    for (int i = 0; i < vectorSize<T>; ++i) values[part * vectorSize<T> + i] = some[i];
  }
}

/** A lane's part of a key or value of a cache of type C: 16 bytes, or 8 whole numbers and their head's factor. */
template <class C>
struct Cached {
  static constexpr int elements = vectorSize<C>;
  uint4 raw;
  __device__ void load(const C* at) { raw = loadStream16(at); }
  __device__ void values(float (&to)[elements]) const { unpack<C>(raw, to); }
  __device__ float factor() const { return 1.0f; }
};
template <>
struct Cached<int8_t> {
  static constexpr int elements = 8;
  uint2 raw;
  float scale;
  __device__ void load(const int8_t* at, const float* factor) {
    raw = loadStream8(at);
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
  /** Of elements that `Lanes` lanes have of a head. */
  template <int Lanes>
  __device__ void quantize(const float (&from)[elements]) {
    Extent extent;
#pragma unroll
    for (int i = 0; i < elements; ++i) extent.look(from[i]);
    const RowScale row = scaleOf(warpExtent<Lanes>(extent));
    int whole[elements];
#pragma unroll
    for (int i = 0; i < elements; ++i) whole[i] = quantized(from[i], row);
    raw = {packBytes(whole[0], whole[1], whole[2], whole[3]), packBytes(whole[4], whole[5], whole[6], whole[7])};
    scale = row.scale;
  }
};

/** A key or value of an entry. Registers decide how many blocks run at once (80 of them leave room for six): ranges of
 * a pool and rows of a cache each have a kernel that knows nothing of the other. */
template <class T, bool Ranges>
__device__ inline const T* placeOf(const AttentionArguments& a, const AttentionView& all, const AttentionView& appended,
                                   int64_t b, int key, const Entry& entry) {
  if constexpr (Ranges)
    return static_cast<const T*>(all.data) + int64_t(entry.first + key) * all.rowStride;
  else
    return keyRow<T>(a, all, appended, b, key, entry);
}

/** Floats of shared memory: what the warps have, or two columns of each thread; behind it a flag. */
__host__ __device__ inline int flagPlace(int size) { return larger(warps * int(partialSize(size)), threads * 2); }

/** Joins what the blocks of a head wrote: threads take pairs of columns and shares of the parts. */
template <class T>
__device__ inline void joinSplits(T* y, const float* parts, int splits, int size, float* shared) {
  constexpr int atOnce = 8;
  const int thread = int(threadIdx.x), lane = thread % 32, pairs = size / 2, groups = threads / pairs;
  const int pair = thread % pairs, group = thread / pairs;
  const int64_t part = partialSize(size);
  const float share = loadShare(parts, part, splits, size, lane);
  float2 sum = make_float2(0.0f, 0.0f);
  for (int first = group; first - group < splits; first += atOnce * groups) {
    float2 values[atOnce];
#pragma unroll
    for (int u = 0; u < atOnce; ++u) {
      const int i = first + u * groups;
      values[u] = group < groups && i < splits ? loadFresh(reinterpret_cast<const float2*>(parts + i * part + 2 * pair))
                                               : make_float2(0.0f, 0.0f);
    }
#pragma unroll
    for (int u = 0; u < atOnce; ++u) {
      const float of = __shfl_sync(allLanes, share, (first + u * groups) % 32);
      sum.x = fmaf(values[u].x, of, sum.x);
      sum.y = fmaf(values[u].y, of, sum.y);
    }
  }
  if (group < groups) {
    shared[group * size + 2 * pair] = sum.x;
    shared[group * size + 2 * pair + 1] = sum.y;
  }
  __syncthreads();
  if (thread >= size) return;
  float whole = 0;
  for (int g = 0; g < groups; ++g) whole += shared[g * size + thread];
  y[thread] = fromFloat<T>(whole);
}

/** Blocks of a multiprocessor, which their registers must leave room for: 80 for six. Before compute capability 9.0
 * that is too few by some. */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
constexpr int blocksAtOnce = 5;
#else
constexpr int blocksAtOnce = 6;
#endif

/** C is the cache's type: T, or int8_t. */
template <class T, class C, int P, bool Ranges>
__global__ void __launch_bounds__(threads, blocksAtOnce) decodeKernel(const __grid_constant__ AttentionArguments a) {
  constexpr bool bytes = std::is_same_v<C, int8_t>;
  constexpr int vector = Cached<C>::elements, lanes = P / vector, rowsAtOnce = 32 / lanes, step = rowsAtOnce * warps;
  ONEHEAD_SHARED(float, shared);  // sharedFloats
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int64_t b = blockIdx.z, head = blockIdx.y, split = blockIdx.x;
  const int size = int(a.headSize), part = int(partialSize(size)), chunk = lane % lanes * vector;
  letNextKernelStart();
  if (!a.keysStay) waitForPreviousKernel();
  const Entry entry = Ranges ? entryOfRange(a, b) : entryOfRow(a, b);
  const int start = entry.start, limit = entry.keys;
  auto output = [&] { return static_cast<T*>(const_cast<void*>(a.y.data)) + b * a.y.batchStride + head * size; };
  if (limit == 0) {  // an entry that sees nothing gives zeros
    waitForPreviousKernel();
    if (split == 0 && thread < size) output()[thread] = fromFloat<T>(0.0f);
    return;
  }
  // Blocks without work wait as well: the next kernel's wait is for this one's end, which must be that of all before.
  if (Ranges && entriesTogether(a, b) != 1) return waitForPreviousKernel();
  const int perSplit =
      limit <= aloneKeys ? aloneKeys : divideUp(divideUp(limit, int(gridDim.x)), leastKeys) * leastKeys;
  const int splits = int(divideUp(limit, perSplit));
  if (split >= splits) return waitForPreviousKernel();
  const int begin = int(split) * perSplit, end = smaller(limit, begin + perSplit);
  const bool inside = chunk < size;  // lanes behind the head's elements have none

  Cached<C> k[ahead], v[ahead];
  Cached<C> newKey, newValue;  // of 8 bits, as the cache will have them
  const int firstKey = begin + warp * rowsAtOnce + lane / lanes;
  auto fetch = [&](int key0) {
#pragma unroll
    for (int u = 0; u < ahead; ++u) {
      const int key = key0 + u * step;
      if (!inside || key >= end) continue;
      const int64_t at = head * size + chunk;
      if constexpr (!bytes) {
        k[u].load(placeOf<T, Ranges>(a, a.k, a.newKey, b, key, entry) + at);
        v[u].load(placeOf<T, Ranges>(a, a.v, a.newValue, b, key, entry) + at);
      } else if (!Ranges && a.newKey.data && key == start) {
        k[u] = newKey;
        v[u] = newValue;
      } else {
        const int64_t place = Ranges ? entry.first + key : cachePlace(a, key, entry), scale = place * a.heads + head;
        k[u].load(static_cast<const C*>(a.k.data) + place * a.k.rowStride + at, a.keyScales + scale);
        v[u].load(static_cast<const C*>(a.v.data) + place * a.v.rowStride + at, a.valueScales + scale);
      }
    }
  };
  if constexpr (Ranges) fetch(firstKey);
  waitForPreviousKernel();

  float query[vector] = {};
  if (inside) {
    loadElements<T>(static_cast<const T*>(a.q.data) + b * a.q.batchStride + head * size + chunk, query);
#pragma unroll
    for (int i = 0; i < vector; ++i) query[i] *= a.scale * log2E;
  }
  if constexpr (bytes && !Ranges) {
    if (a.newKey.data) {
      float fresh[2][vector] = {};
#pragma unroll
      for (int which = 0; which < 2; ++which) {
        const AttentionView& from = which ? a.newValue : a.newKey;
        if (inside)
          loadElements<T>(static_cast<const T*>(from.data) + b * from.batchStride + head * size + chunk, fresh[which]);
      }
      newKey.template quantize<lanes>(fresh[0]);
      newValue.template quantize<lanes>(fresh[1]);
    }
  }

  float* wantedScores = scoresOf(a, b, 0, head);
  Running<vector> running;
  for (int key0 = firstKey; key0 - lane / lanes < end; key0 += ahead * step) {
    if (!Ranges || key0 != firstKey) fetch(key0);
    float scores[ahead], above = running.highest;
#pragma unroll
    for (int u = 0; u < ahead; ++u) {
      float score = 0, values[vector];
      if (inside && key0 + u * step < end) {
        k[u].values(values);
#pragma unroll
        for (int i = 0; i < vector; ++i) score = fmaf(query[i], values[i], score);
        if constexpr (bytes) score *= k[u].factor();
      }
      score = warpSum<lanes>(score);
      scores[u] = key0 + u * step < end ? score : -infinity;
      above = fmaxf(above, scores[u]);
      if (wantedScores && lane % lanes == 0 && key0 + u * step < smaller(end, int(a.scoreKeys)))
        wantedScores[key0 + u * step] = score * naturalLog2;
    }
    if (above == -infinity) continue;
    running.rescale(above);
#pragma unroll
    for (int u = 0; u < ahead; ++u) {
      if (!inside || key0 + u * step >= end) continue;
      float values[vector];
      v[u].values(values);
      running.add(exp2Fast(scores[u] - above), values, v[u].factor());
    }
  }

  // The new row joins the cache.
  if (!Ranges && a.newKey.data && warp == 0 && lane < lanes && inside && start >= 0 && start < a.keys &&
      (start >= begin && (start < begin + perSplit || split == splits - 1))) {
    const int64_t at = head * size + chunk;
    for (int which = 0; which < 2; ++which) {
      const AttentionView &from = which ? a.newValue : a.newKey, &to = which ? a.v : a.k;
      if constexpr (bytes) {
        const int64_t place = entry.keyRow * a.keys + start;
        const Cached<C>& fresh = which ? newValue : newKey;
        C* row = static_cast<C*>(const_cast<void*>(to.data)) + place * to.rowStride + at;
        *reinterpret_cast<uint2*>(row) = fresh.raw;
        if (lane == 0) (which ? a.valueScales : a.keyScales)[place * a.heads + head] = fresh.factor();
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
  // Each warp's part counts as much as its share, which every warp finds for itself.
  const float* state = shared + lane * part + size;
  const float share = lane < warps ? state[0] : -infinity, weights = lane < warps ? state[1] : 0.0f;
  const float highest = warpMax(share);
  const float factor = share == -infinity ? 0.0f : exp2Fast(share - highest), sum = warpSum(weights * factor);
  float value = 0;
#pragma unroll
  for (int w = 0; w < warps; ++w) {
    const float of = __shfl_sync(allLanes, factor, w);
    if (thread < size) value = fmaf(shared[w * part + thread], of, value);
  }
  if (splits == 1) {
    if (thread < size) y[thread] = fromFloat<T>(value / sum);
    return;
  }
  float* parts = static_cast<float*>(a.scratch) + row * gridDim.x * part;
  if (thread < size) parts[split * part + thread] = value;
  if (thread == 0) {
    parts[split * part + size] = highest;
    parts[split * part + size + 1] = sum;
  }
  if (!isLastBlock(a.counters + row, splits, reinterpret_cast<int*>(shared + flagPlace(size)))) return;
  joinSplits(y, parts, splits, size, shared);
  if (thread == 0) a.counters[row] = 0;
}

int64_t splitsOf(const AttentionArguments& a, const Launcher& launcher) {
  return splitsFor(a.keys, leastKeys, a.batch * a.heads, blocksPerMultiprocessor, launcher);
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
  const size_t bytes = size_t(flagPlace(int(a.headSize)) + 1) * sizeof(float);
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
