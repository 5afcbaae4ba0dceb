// split-kv for one query per head: a multi-head decode step, and a multi-query one that reads so little that each query
// head may have blocks of its own. attention_cluster.cu and attention_streaming.cu compute all rows of a key/value head
// together.
//
// Shapes   q [batch, 1, heads, size], k and v [batch, keys, heads, size] -> y [batch, 1, heads, size]
// Launch   grid (splits, heads, batch), 128 threads, the splits of a head as a cluster; shared memory: one partial
//          result per warp and block of the cluster, or per warp and a flag, at most 6.4 KB
// Bytes    2 keys x size elements per head, read once; everything else is small
// Work     2 multiply-adds per key element and 1/size exponentials: one operation per byte, far below the GPU's ratio
// Method   Flash-Decoding: the keys of a head are split over enough blocks to fill the GPU. Eight lanes read a row of
//          64 half-precision elements, 16 bytes each, so a warp reads 4 rows at once; it has the keys and values of 48
//          or 16 rows in flight before it uses the first. Each lane group keeps its own maximum, sum and weighted
//          values. They are combined with shuffles in the warp and in shared memory in the block. The blocks of a head
//          are a cluster: each stores its partial result into the others' shared memory, and combines some of the
//          columns after one cluster barrier. A head with few visible keys has one block, and nothing to combine.
//          Without clusters (before compute capability 9.0) the last block of a head combines the splits, with threads
//          over pairs of columns and splits.
// Early    Rows of the cache that no earlier kernel of the program writes are loaded before the previous kernel has
//          ended: cross-attention's, and in a step all of self-attention's but the new one, which earlier runs of the
//          program wrote. A run starts when the one before has ended, so these are complete.
// Append   The new row is read from where it was computed, never from the cache. So the block whose split contains it
//          can write it to the cache in the same launch without synchronization.
//
// History
//   Measured on an H200 (20 heads of 64, float16; microseconds at batch 1 / 8 / 32). At commit 1dabc91: cross-attention
//   over 1,500 keys 9.3 / 27.2 / 72.5 (87% of bandwidth at 32), self-attention at 65 positions 5.7 / 6.7 / 12.5. Then a
//   head had two blocks from 65 keys on, and a fence, a counter and loads from the L2 cache combined up to 24 splits.
//   At commit 08120539, with one block for up to 192 keys, at batch 1: cross-attention 8.1, of pool ranges, whose first
//   64 keys were loaded early, 6.1, with int8 caches 7.3; self-attention at 16 / 64 / 440 positions 3.4 / 4.9 / 7.3.
//   At commit 3c93d7d7, with clusters, early loads and wide blocks: cross-attention 4.7 / 22.8 / 73.1, of ranges 4.1 at
//   batch 1, with int8 caches 4.8 / 33.3 / 66.9; self-attention at 16 positions 2.8 / 3.8 / 4.5, at 64 3.0 / 4.4 / 7.6,
//   at 440 4.5 / 9.5 / 24.6. Each load took some 40 instructions and a branch to find its row, and two or three blocks
//   per multiprocessor did not hide four rounds of loads: a quarter of batch 32's time is 18.3, or 16.7 with int8.
//   At commit 8c906c2e, with loads without branches, the new row appended before the keys are computed, and narrow
//   blocks also in clusters if wide ones would need more than two rounds: cross-attention 4.2 / 25.1 / 57.7, with int8
//   caches 4.8 / 24.1 / 54.1 (narrow blocks lose at batch 8 in float16); self-attention at 16 positions 2.6 / 3.5 /
//   3.9, at 64 2.8 / 3.8 / 6.0, at 440 4.2 / 9.0 / 20.1. Entries alone in their range of a pool, with the launch of
//   attention_cluster.cu for others: 4.1 / 27.5 / 60.8.
//   There too, several heads on one key/value head, each with its own blocks, which read the L2 cache: self-attention
//   at 16 / 64 / 440 positions 2.5 / 2.6 / 3.8 at batch 1, and 2.5 / 3.4 / 7.5 at 8; cross-attention 4.8 at batch 1,
//   with int8 caches 5.3 (15.8 with attention_streaming.cu).
//   int8 caches: a lane reads 8 bytes and a scale, so a warp still reads 4 rows at once with half the bytes. Every warp
//   quantizes the new row for itself, and one writes it. Scales of neighbouring heads share a sector: they add 6% to
//   the bytes from memory. In all figures above instructions were the bound: 117 per warp and 4 keys of ranges, some
//   150 of rows. At batch 32 these alone take 30 and 39 us of all schedulers' slots; the bytes take 33.
//   Then, not measured: narrow blocks, and all blocks of ranges, multiply int8 keys as integers by a query of 24-bit
//   integers (QueryBytes), find addresses with one instruction, and have 6 keys in flight instead of 4, since 4 had
//   only 41 KB in flight on a multiprocessor. 81 instructions for ranges and some 90 for rows. Predicted with int8
//   caches at batch 8 / 32: 17 / 40 (measured before: 24.1 / 54.1). Batch 1, with wide blocks on rows, as before.
//   Registers for 90a: 158 to 168 in wide blocks, of the 168 that three per multiprocessor leave; 84 to 96 in narrow
//   ones, of the 96 that five leave; up to 254 and 128 for several heads on one key/value head; no spills.
#include "decode_parts.h"

namespace onehead::cuda {

namespace {

/** Without clusters, blocks per multiprocessor that splitting aims at: more than the five that fit, so that none
 * idles if splits are uneven. Not tuned on a GPU. */
constexpr int blocksPerMultiprocessor = 8;
/** The most bytes that all query heads of a launch read for this kernel to compute several per key/value head. From
 * figures of an H200 (20 heads of 64, float16): with as many key/value heads, self-attention at batch 8 (a cache of 18
 * MB) took this kernel 3.8 us at 16 positions and 4.4 at 64, cross-attention at batch 1 (8 MB) 4.7; clusters that read
 * one key/value head once took 5.9, 6.8 and 5.2. At batch 8 (61 MB) cross-attention took 22.8 here, 6.1 there. */
constexpr int64_t maxSharedBytes = 20 << 20;

/** C is the cache's type: T or int8_t. P is the head size rounded up to 64 or 128. Ranges: entries read ranges of a
 * pool. Grouped: several heads share a key/value head. */
template <class T, class C, int P, bool Ranges, Blocks Kind, bool Grouped>
__global__ void __launch_bounds__(threads, residentBlocksOf(Kind, Grouped))
    decodeKernel(const __grid_constant__ AttentionArguments a) {
  constexpr bool clustered = Kind != Blocks::apart;
#if defined(__CUDA_ARCH__)
  if constexpr (clustered != __CUDA_ARCH__ >= 900) return;  // never launched on this GPU
#endif
  constexpr bool bytes = std::is_same_v<C, int8_t>;
  constexpr int elements = CacheVector<C>::elements, lanes = P / elements, rowsPerWarp = 32 / lanes,
                step = rowsPerWarp * warps;
  constexpr int keysInFlight = keysInFlightOf(Kind, bytes), keysAtOnce = keysAtOnceOf(Kind, bytes);
  constexpr bool byStrides = usesStrides<C>(Ranges, keysInFlight), integers = bytes && byStrides;
  ONEHEAD_SHARED(float, shared);  // see sharedFloats
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int64_t b = blockIdx.z, head = blockIdx.y, split = blockIdx.x;
  // Heads of a group read the same keys and values, from the L2 cache after the first.
  const int groupSize = Grouped ? int(a.heads) / int(a.keyValueHeads) : 1;
  const int64_t keyHeads = Grouped ? a.keyValueHeads : a.heads, keyHead = Grouped ? int(blockIdx.y) / groupSize : head;
  const int size = int(a.headSize), part = int(partialSize(size)), chunk = lane % lanes * elements;
  letNextKernelStart();
  if (!a.pastUnchanged) waitForPreviousKernel();
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
  int perSplit = singleBlockKeys;
  if (limit > singleBlockKeys) {
    perSplit = divideUp(limit, int(gridDim.x));
    perSplit =
        Kind == Blocks::wide ? max(perSplit, minKeysPerSplit) : divideUp(perSplit, minKeysPerSplit) * minKeysPerSplit;
  }
  const int splits = int(divideUp(limit, perSplit));
  // In a cluster that combines results, blocks without keys take part in the barriers.
  if (split >= splits && !(clustered && splits > 1)) return waitForPreviousKernel();
  if (clustered && splits > 1) startInCluster();
  const int begin = int(split) * perSplit, end = min(limit, begin + perSplit);

  // 1. Load keys and values: all but the new row come from the cache.
  const int at = int(keyHead) * size + chunk, queryAt = Grouped ? int(blockIdx.y) * size + chunk : at;
  const bool appends = !Ranges && a.newKey.data;
  const int newPosition = appends ? start : -1;
  CacheVector<C> k[keysInFlight], v[keysInFlight];
  CacheVector<C> newKey{}, newValue{};  // int8 caches: the new row, quantized
  const int firstKey = begin + warp * rowsPerWarp + lane / lanes;
  auto cached = [&](const AttentionView& all) {
    return static_cast<const C*>(all.data) + at +
           (Ranges ? entry.first * all.rowStride : entry.keyRow * all.batchStride);
  };
  const int64_t firstScale = bytes ? (entry.keyRow * a.keys + entry.first) * keyHeads + keyHead : 0;
  const LaneRows<C> rows{.keys = cached(a.k),
                         .values = cached(a.v),
                         .keyScales = a.keyScales + firstScale,
                         .valueScales = a.valueScales + firstScale,
                         .keyStride = int(a.k.rowStride),
                         .valueStride = int(a.v.rowStride),
                         .scaleStride = int(keyHeads),
                         .keyHead = keyHead,
                         .keyHeads = keyHeads,
                         .end = end,
                         .newPosition = newPosition,
                         .holdsElements = chunk < size,
                         .hasTable = !Ranges && a.source,
                         .appends = appends};
  auto newRow = [&](const AttentionView& from) { return static_cast<const T*>(from.data) + b * from.batchStride + at; };
  constexpr bool loadsEarly = clustered || Ranges;
  if constexpr (loadsEarly) loadRows<Ranges, step>(k, v, a, entry, rows, firstKey);
  prefetchShare(a.prefetch);
  waitForPreviousKernel();

  // 2. Load the query and take the new row; one warp appends it to the cache, early, since a cluster barrier waits for
  // stores.
  float query[elements] = {};
  if (rows.holdsElements) loadElements<T>(static_cast<const T*>(a.q.data) + b * a.q.batchStride + queryAt, query);
  if constexpr (bytes && !Ranges) {
    if (rows.appends) {
      float newElements[2][elements] = {};
#pragma unroll
      for (int which = 0; which < 2; ++which)
        if (rows.holdsElements) loadElements<T>(newRow(which ? a.newValue : a.newKey), newElements[which]);
      newKey.template quantize<lanes>(newElements[0]);
      newValue.template quantize<lanes>(newElements[1]);
    }
  }
  if constexpr (loadsEarly) takeNewRow<Ranges, step>(k, v, a, rows, newKey, newValue, newRow, firstKey);
  const bool firstOfGroup = !Grouped || int(blockIdx.y) % groupSize == 0;
  if (rows.appends && firstOfGroup && warp == 0 && lane < lanes && rows.holdsElements && start >= 0 && start < a.keys &&
      start >= begin && (start < begin + perSplit || split == splits - 1))
    appendNewRow<T, byStrides>(a, entry, rows, newKey, newValue, newRow, at, lane);
  const float scale = a.scale * log2E;
#pragma unroll
  for (int i = 0; i < elements; ++i) query[i] *= scale;
  QueryBytes queryBytes{};
  if constexpr (integers) queryBytes.quantize<lanes>(query);

  // 3. Scores, streaming softmax, weighted sum of values.
  float* scoreOutput = scoresOf(a, b, 0, head);
  Running<elements> running;
  for (int key0 = firstKey; key0 - lane / lanes < end; key0 += keysInFlight * step) {
    if (!loadsEarly || key0 != firstKey) {
      loadRows<Ranges, step>(k, v, a, entry, rows, key0);
      takeNewRow<Ranges, step>(k, v, a, rows, newKey, newValue, newRow, key0);
    }
    float scores[keysInFlight], newMaximum = running.maximum;
    // The same for a whole warp: whether it has any of the keys that are computed together with this one.
    auto hasAny = [&](int u) { return u == 0 || key0 - lane / lanes + u * step < end; };
#pragma unroll
    for (int u0 = 0; u0 < keysInFlight; u0 += keysAtOnce) {
      if (!hasAny(u0)) break;
#pragma unroll
      for (int u = u0; u < u0 + keysAtOnce; ++u) {
        const bool visible = key0 + u * step < end;
        float score = 0;
        if constexpr (integers) {
          // Vectors that were not loaded are not used: neither here, nor in lanes without elements, whose query is 0.
          score = warpSum<lanes>(queryBytes.multiply(k[u].raw)) * (queryBytes.unit * k[u].factor());
        } else {
          if (rows.holdsElements && visible) {
            float values[elements];
            k[u].values(values);
#pragma unroll
            for (int i = 0; i < elements; ++i) score = fmaf(query[i], values[i], score);
            if constexpr (bytes) score *= k[u].factor();
          }
          score = warpSum<lanes>(score);
        }
        scores[u] = visible ? score : -infinity;
        newMaximum = fmaxf(newMaximum, scores[u]);
      }
    }
    if (scoreOutput && lane % lanes == 0) {
#pragma unroll
      for (int u = 0; u < keysInFlight; ++u)
        if (key0 + u * step < min(end, int(a.scoreKeys))) scoreOutput[key0 + u * step] = scores[u] * ln2;
    }
    if (newMaximum == -infinity) continue;
    running.rescale(newMaximum);
#pragma unroll
    for (int u0 = 0; u0 < keysInFlight; u0 += keysAtOnce) {
      if (!hasAny(u0)) break;
#pragma unroll
      for (int u = u0; u < u0 + keysAtOnce; ++u) {
        const bool visible = key0 + u * step < end;
        if constexpr (!integers)
          if (!rows.holdsElements || !visible) continue;
        float values[elements];
        v[u].values(values);
        running.add(exp2Fast(scores[u] - newMaximum), values, visible ? v[u].factor() : 0.0f);
      }
    }
  }

  // 4. Combine lane groups, then warps, then blocks.
  combineGroups<lanes>(running);
  storePart<lanes>(shared + warp * part, running, lane, chunk, size);
  __syncthreads();
  const Joined block = joinAtOnce<warps>(shared, warps, size, min(thread, size - 1));
  T* y = output();
  if (splits == 1) {
    if (thread < size) y[thread] = fromFloat<T>(block.value / block.sum);
    return;
  }
  if constexpr (clustered) {
    // Each block combines some of the columns, which the others store into its memory.
    const int cluster = int(gridDim.x), columns = divideUp(size, cluster), column = int(split) * columns + thread;
    float *blockParts = shared + warps * part, *own = blockParts + split * part;
    clusterWait();  // all blocks have started
    if (thread < size) storeToRank(own + thread, thread / columns, block.value);
    if (thread < cluster) {
      storeToRank(own + size, thread, block.maximum);
      storeToRank(own + size + 1, thread, block.sum);
    }
    clusterBarrier();
    if (thread >= columns || column >= size) return;
    const Joined all = joinAtOnce<portableCluster>(blockParts, cluster, size, column);
    y[column] = fromFloat<T>(all.value / all.sum);
  } else {
    const int64_t row = b * a.heads + head;
    float* parts = static_cast<float*>(a.scratch) + row * gridDim.x * part;
    if (thread < size) parts[split * part + thread] = block.value;
    if (thread == 0) {
      parts[split * part + size] = block.maximum;
      parts[split * part + size + 1] = block.sum;
    }
    if (!isLastBlock(a.counters + row, splits, reinterpret_cast<int*>(shared + flagIndex(size)))) return;
    joinSplits(y, parts, splits, size, shared);
    if (thread == 0) a.counters[row] = 0;
  }
}

/** The blocks of each head. */
struct Division {
  Blocks kind;
  int splits;
};
/** The largest clusters that are all resident at once, and have enough keys. A cluster's blocks are on neighbouring
 * multiprocessors, 16 or 18 of them, so not every place can be filled: on 132 multiprocessors, 48 clusters of 8 wide
 * blocks fit. */
template <Blocks Kind>
Division clustersOf(const AttentionArguments& a, const Launcher& launcher) {
  const int64_t multiprocessors = launcher.multiprocessors, heads = a.batch * a.heads;
  const int blocks = residentBlocksOf(Kind, a.heads != a.keyValueHeads);
  const int64_t resident = multiprocessors * blocks - multiprocessors / 11;
  int cluster = portableCluster;
  while (cluster > 1 && (heads * cluster > resident || a.keyLimit < cluster * minKeysPerSplit)) cluster /= 2;
  return {heads <= resident ? Kind : Blocks::narrow, cluster};
}
Division divisionOf(const AttentionArguments& a, const Launcher& launcher) {
  if (!launcher.clusters)
    return {Blocks::apart,
            int(splitsFor(a.keyLimit, minKeysPerSplit, a.batch * a.heads, blocksPerMultiprocessor, launcher))};
  constexpr int keysOfWide = 2 * singleBlockKeys;  // two rounds
  const Division wide = clustersOf<Blocks::wide>(a, launcher), narrow = clustersOf<Blocks::narrow>(a, launcher);
  return a.keyLimit > wide.splits * keysOfWide && narrow.splits > wide.splits ? narrow : wide;
}

/** Shared memory: partial results of the warps and of a cluster's blocks; or of the warps and a flag. */
size_t sharedFloats(const AttentionArguments& a, Blocks kind) {
  const int size = int(a.headSize);
  return size_t(kind == Blocks::apart ? flagIndex(size) + 1 : (warps + portableCluster) * partialSize(size));
}

}  // namespace

bool decodeFits(const AttentionArguments& a, const Launcher& launcher) {
  if (a.queries != 1) return false;
  // Addresses of rows that a block table names are products of 32-bit strides.
  if (a.source && max(a.k.batchStride, a.v.batchStride) > INT32_MAX / 4) return false;
  if (a.heads == a.keyValueHeads) return true;
  const int64_t keys = a.keyBegin ? min<int64_t>(a.keyLimit, expectedRange) : a.keys;
  const int64_t elementBytes = a.keyScales ? 1 : int64_t(bytesOf(a.type));
  return launcher.clusters && 2 * a.batch * a.heads * keys * a.headSize * elementBytes <= maxSharedBytes;
}

Needs decodeNeeds(const AttentionArguments& a, const Launcher& launcher) {
  const auto [kind, splits] = divisionOf(a, launcher);
  const int64_t rows = a.batch * a.heads;
  if (splits == 1 || kind != Blocks::apart) return {};
  return {size_t(rows * splits * partialSize(a.headSize)) * sizeof(float), size_t(rows)};
}

cudaError_t decodeAttention(const AttentionArguments& a, const Launcher& launcher) {
  const auto [kind, splits] = divisionOf(a, launcher);
  const int cluster = kind == Blocks::apart ? 1 : splits;
  const dim3 grid(unsigned(splits), unsigned(a.heads), unsigned(a.batch));
  const size_t sharedBytes = sharedFloats(a, kind) * sizeof(float);
  auto start = [&](auto kernel) {
    return launchClusters(launcher, cluster, kernel, grid, dim3(threads), sharedBytes, a);
  };
  return withType(a.type, [&](auto element) {
    using T = decltype(element);
    auto divided = [&](auto stored, auto size, auto blocks) {
      using C = decltype(stored);
      constexpr int P = decltype(size)::value;
      constexpr Blocks kindOf = decltype(blocks)::value;
      auto grouped = [&](auto several) {
        constexpr bool G = decltype(several)::value;
        return start(a.keyBegin ? decodeKernel<T, C, P, true, kindOf, G> : decodeKernel<T, C, P, false, kindOf, G>);
      };
      if constexpr (kindOf != Blocks::apart)
        if (a.heads != a.keyValueHeads) return grouped(std::true_type{});
      return grouped(std::false_type{});
    };
    auto sized = [&](auto stored, auto size) {
      if (kind == Blocks::wide) return divided(stored, size, std::integral_constant<Blocks, Blocks::wide>{});
      if (kind == Blocks::narrow) return divided(stored, size, std::integral_constant<Blocks, Blocks::narrow>{});
      return divided(stored, size, std::integral_constant<Blocks, Blocks::apart>{});
    };
    auto cached = [&](auto stored) {
      return a.headSize <= 64 ? sized(stored, std::integral_constant<int, 64>{})
                              : sized(stored, std::integral_constant<int, 128>{});
    };
    return a.keyScales ? cached(int8_t{}) : cached(element);
  });
}

}  // namespace onehead::cuda
