// split-kv with several rows per key/value head on GPUs with clusters: a multi-query decode step with many entries or
// keys, some positions of a multi-head one, and beams that share their keys. Its caches hold the type of q; int8
// caches, more rows and GPUs without clusters have attention_streaming.cu.
//
// Shapes   the rows of a key/value head are (query, head of its group), and those of neighbouring entries with the same
//          range of a pool; tiles of 16 or 32 rows
// Launch   grid (row tiles x cluster, key/value heads, batch) in clusters of 1 to 8 blocks, which share the keys of a
//          row tile; 256 threads; shared memory 68 or 82 KB for half types and heads of up to 64, 54 KB of them keys
//          and values
// Bytes    each cluster reads the keys and values that its rows see, once; nothing but the output is written
// Work     4 size multiply-adds and one exponential per score
// Method   Latency is the bound, so no warp has much to do, and nothing passes through global memory. A block has all
//          its keys and values (up to `maxRound`) in flight at once with cp.async, before the previous kernel has ended
//          except for those that earlier kernels of the program write. On tensor cores, each of the 8 warps computes
//          the scores of every eighth 16 keys; they exchange maxima in shared memory, and put the weights there. Then
//          each computes its own columns of the second product over all keys of the block, so that warps have no
//          partial results to combine. The blocks of a cluster send theirs through distributed shared memory: a row's
//          to the block that combines it. More keys than fit are computed in rounds: the next round's keys load while
//          this one's weights and second product are computed, and its values during the next scores. Clusters are only
//          so large that all are resident at once: a second wave would load nothing before the first has ended.
// Few keys Up to `singleBlockKeys` visible keys have one block; the others of its cluster exit.
// Append   New rows are read from where they were computed; the first block of the first row tile writes them to the
//          cache.
//
// History
//   Measured on an H200 at commit 08120539 with attention_streaming.cu (float16, heads of 64, microseconds in a chain
//   of dependent kernels): cross-attention of 20 heads over 1,500 keys of one key/value head 13.7 at batch 1 (6 heads
//   8.6; batch 8 9.3), about 19 at batch 32; self-attention of 20 heads at 16 / 64 / 440 positions 4.7 / 6.8 / 16.0;
//   five beams of one window, 20 key/value heads, 18.9 (tiny 11.7, batch 8 39.6); four positions, 20 key/value heads,
//   10.9. There a tile of 64 keys takes one warp about 2 us, and splits are combined through the L2 cache.
//   Measured at commit 3fafd1c5 with this kernel in clusters of 8 whatever the batch (batch 1 / 8 / 32):
//   cross-attention 5.2 / 6.1 / 16.3; self-attention at 16 positions 5.9 / 5.9 / 6.7, at 64 6.7 / 6.8 / 8.2, at 440
//   7.7 / 8.3 / 9.5; five beams of a window 8.9 / 71.7 / 283, one beam of ranges 48.5 at batch 8 and 188 at 32; four
//   positions 6.8 / 46.0 / 176. Two blocks fit on a multiprocessor: 30 clusters of 8, so 640 heads were 20 waves.
//   Measured at commit 8c906c2e, with clusters as large as fit, loads of the next round during this one, keys that are
//   used before the values are there, and early loads in self-attention: cross-attention 6.1 / 14.2 at batch 8 / 32;
//   self-attention at batch 32 5.7 / 6.4 / 7.5; five beams 9.9 / 51.3 / 179; four positions 7.0 / 45.6 / 124. Predicted
//   had been 5.5 / 8, 5.5 / 6.5 / 8, 10 / 32 / 110 and 6.5 / 30 / 100.
//   Registers for 90a and half types: 106 and 123 for heads of up to 64 and 16 or 32 rows, 120 and 161 for larger
//   heads; no spills.
#include "cluster_parts.h"

namespace onehead::cuda {

namespace {

/** Resident blocks per multiprocessor that the kernel is compiled for: of half types and small heads, two. */
template <class T, int P>
constexpr int residentBlocks = P* int(sizeof(T)) == 128 ? 2 : 1;

template <class T, int P, int MTiles>
__global__ void __launch_bounds__(threads, residentBlocks<T, P>)
    clusterAttentionKernel(const __grid_constant__ AttentionArguments a, Plan plan) {
  using S = Shape<T, P, MTiles>;
  constexpr int vector = vectorSize<T>, columnTiles = S::columnTiles;
  ONEHEAD_SHARED(T, shared);
  T* const keys = shared;
  T* const values = keys + plan.round * S::stride;
  T* const queries = values + plan.round * S::stride;
  T* const weights = queries + S::rows * S::stride;
  const int weightStride = S::weightStride(plan.round);
  float* const maxima = reinterpret_cast<float*>(weights + S::rows * weightStride);  // [rows][warps]
  float* const totals = maxima + S::rows * warps;                                    // the same
  float* const received = totals + S::rows * warps;  // [cluster][rows that this block combines][part]

  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32, group = lane / 4, quad = lane % 4;
  const int b = int(blockIdx.z), keyHead = int(blockIdx.y);
  const int rank = rankOf(plan.cluster), firstTile = int(blockIdx.x) / plan.cluster;
  const int headsPerGroup = int(a.heads / a.keyValueHeads), size = int(a.headSize);
  letNextKernelStart();
  if (!a.pastUnchanged) waitForPreviousKernel();
  const Entry entry = entryOf(a, b);
  if (entry.keys == 0) {  // nothing is visible: the output is zero
    waitForPreviousKernel();
    if (blockIdx.x == 0) clearRows<T>(a, b, keyHead);
    return;
  }
  // The rows of entries in a group are consecutive; there are none if an earlier entry's cluster has this one's.
  const int entries = plan.groups.maximum > 1 ? rangeGroupSize(a, b) : 1;
  const int rows = entries < plan.groups.minimum ? 0 : int(a.queries) * headsPerGroup * entries;
  // Blocks without work wait too: the next kernel's wait for this one must imply that all earlier ones have ended.
  if (firstTile * S::rows >= rows) return waitForPreviousKernel();

  for (int tile = firstTile; tile * S::rows < rows; tile += plan.tiles) {
    const int row0 = tile * S::rows, lastRow = min(row0 + S::rows, rows) - 1;
    const int limit = visibleKeys(a, entry, lastRow / headsPerGroup);  // the tile's last row sees the most keys
    const int ranks = limit <= singleBlockKeys ? 1 : plan.cluster;
    if (rank >= ranks) continue;
    if (tile != firstTile) __syncthreads();  // all threads have used what the last tile left in shared memory
    // Later barriers also order the use of what the last tile received.
    if (ranks > 1) tile == firstTile ? startInCluster() : clusterArrive();
    const int keysOfRank = divideUp(limit, ranks * roundStep) * roundStep;
    const int begin = rank * keysOfRank, end = min(begin + keysOfRank, limit);

    // This thread's rows: `group` and `group + 8` of each 16.
    typename S::RowInts visible;
    typename S::RowFloats maximum;
    typename S::Result result = {};
#pragma unroll
    for (int m = 0; m < MTiles; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = row0 + m * 16 + half * 8 + group;
        visible[m][half] = row < rows ? visibleKeys(a, entry, row / headsPerGroup) : 0;
        maximum[m][half] = -infinity;
      }

    auto fetch = [&](bool ofValues, int from, int first, int last) {
      fetchRows<T, P, S::stride>(a, ofValues ? a.v : a.k, ofValues ? a.newValue : a.newKey, entry, b, keyHead,
                                 ofValues ? values : keys, from, first, last, end);
    };
    auto paddedEnd = [&](int from) { return from + divideUp(min(end - from, plan.round), roundStep) * roundStep; };

    if (begin < end) {
      // 1. Load the first round: what no earlier kernel of the program writes, then queries and new rows.
      const int last = paddedEnd(begin), past = a.newKey.data ? min(max(entry.start, begin), last) : last;
      fetch(false, begin, begin, past);
      commitCopies();
      fetch(true, begin, begin, past);
      commitCopies();
      constexpr int copies = divideUp(S::rows * (P / vector), threads);
      const T* q[copies];
#pragma unroll
      for (int i = 0; i < copies; ++i) {
        const int chunk = thread + i * threads, row = row0 + chunk / (P / vector),
                  column = chunk % (P / vector) * vector;
        q[i] = nullptr;
        if (row < rows && column < size)
          q[i] = static_cast<const T*>(a.q.data) + b * a.q.batchStride + row / headsPerGroup * a.q.rowStride +
                 (keyHead * headsPerGroup + row % headsPerGroup) * size + column;
      }
      prefetchShare(a.prefetch);
      waitForPreviousKernel();
      uint4 query[copies];
#pragma unroll
      for (int i = 0; i < copies; ++i) query[i] = q[i] ? *reinterpret_cast<const uint4*>(q[i]) : make_uint4(0, 0, 0, 0);
      if (past < last) {
        fetch(false, begin, past, last);
        fetch(true, begin, past, last);
        commitCopies();
        waitForCopies<0>();
      }
#pragma unroll
      for (int i = 0; i < copies; ++i) {
        const int chunk = thread + i * threads;
        if (chunk < S::rows * (P / vector))
          *reinterpret_cast<uint4*>(queries + chunk / (P / vector) * S::stride + chunk % (P / vector) * vector) =
              query[i];
      }
      if (a.newKey.data && tile == 0 && rank == 0) appendRows<T>(a, entry, b, keyHead, size, thread);
    }

    for (int from = begin; from < end; from += plan.round) {
      const int count = min(end - from, plan.round), padded = paddedEnd(from) - from, next = from + plan.round;
      waitForCopies<1>();  // keys; those of values may be under way
      __syncthreads();

      // 2. Scores, and the maximum of each row.
      typename S::Scores scores = {};
      computeScores<S>(scores, queries, keys, warp, padded);
      if (a.scores)
#pragma unroll
        for (int c = 0; c < S::chunks; ++c)
          if ((warp + c * warps) * 16 < padded)
            writeScores<MTiles, 2>(a, b, scores[c], visible, rows, row0, from + (warp + c * warps) * 16);
      findMaxima<S>(scores, maxima, visible, a, from, count, warp, group, quad);
      __syncthreads();
      if (next < end) fetch(false, next, next, paddedEnd(next));
      commitCopies();

      // 3. Weights.
      computeWeights<S>(scores, maximum, result, maxima, totals, weights, weightStride, from == begin, padded, warp,
                        group, quad);
      waitForCopies<1>();  // values; the next round's keys may be under way
      __syncthreads();

      // 4. Weighted values: each warp its columns, over all keys of the block.
      typename S::Result other = {};  // a second chain of products
      for (int k = 0; k < padded; k += roundStep) {
        Pair<T> left[MTiles][2][4];
#pragma unroll
        for (int m = 0; m < MTiles; ++m)
#pragma unroll
          for (int i = 0; i < 2; ++i) loadA<T>(left[m][i], weights + m * 16 * weightStride + k + i * 16, weightStride);
#pragma unroll
        for (int n = 0; n < columnTiles; ++n) {
          const int column = (warp + n * warps) * 8;
          if (column >= size) break;
          Pair<T> right[2][2];
          loadColumns<T>(right, values + k * S::stride + column, S::stride);
#pragma unroll
          for (int m = 0; m < MTiles; ++m) {
            multiply<T>(result[m][n], left[m][0], right[0]);
            multiply<T>(other[m][n], left[m][1], right[1]);
          }
        }
      }
#pragma unroll
      for (int m = 0; m < MTiles; ++m)
#pragma unroll
        for (int n = 0; n < columnTiles; ++n)
#pragma unroll
          for (int i = 0; i < 4; ++i) result[m][n][i] += other[m][n][i];
      if (next < end) {
        __syncthreads();  // all have used the values
        fetch(true, next, next, paddedEnd(next));
        commitCopies();
      }
    }

    auto outputOf = [&](int row) {
      const int head = keyHead * headsPerGroup + row % headsPerGroup;
      return static_cast<T*>(const_cast<void*>(a.y.data)) + b * a.y.batchStride + row / headsPerGroup * a.y.rowStride +
             head * size;
    };
    // 5. Store the rows, or send each to the block of the cluster that combines it: rows are dealt to the blocks, whose
    // number is a power of two.
    const int shift = __ffs(ranks) - 1, slots = S::rows >> shift;
    if (ranks > 1) clusterWait();  // all have started, and have used what they received before
#pragma unroll
    for (int m = 0; m < MTiles; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = m * 16 + half * 8 + group, to = row & (ranks - 1);
        float2 two = make_float2(0.0f, 0.0f);
        if (begin < end) two = *reinterpret_cast<const float2*>(totals + row * warps + quad * 2);
        const float total = warpSum<4>(two.x + two.y);
        if (row0 + row >= rows) continue;
        float* const part = received + (rank * slots + (row >> shift)) * S::part;
#pragma unroll
        for (int n = 0; n < columnTiles; ++n) {
          const int column = (warp + n * warps) * 8 + quad * 2;
          if (column >= size) continue;
          const float low = result[m][n][half * 2], high = result[m][n][half * 2 + 1];
          if (ranks == 1) {
            const float factor = 1.0f / total;
            *reinterpret_cast<Pair<T>*>(outputOf(row0 + row) + column) = makePair<T>(low * factor, high * factor);
          } else {
            storeToRank(reinterpret_cast<float2*>(part + column), to, make_float2(low, high));
          }
        }
        if (ranks > 1 && warp == 0 && quad == 0)
          storeToRank(reinterpret_cast<float2*>(part + S::state), to, make_float2(maximum[m][half], total));
      }
    if (ranks == 1) continue;
    clusterBarrier();
    waitForPreviousKernel();  // a block without keys has not waited yet
    combineParts<T, S>(received, outputOf, thread, size, slots, ranks, rank, row0, lastRow);
  }
  waitForPreviousKernel();  // blocks whose cluster did not need them have not waited yet
}

/** Entries whose rows the grid of a cluster is made for; clusters loop if there are more. */
int64_t expectedGroup(const AttentionArguments& a) { return a.keyBegin ? min<int64_t>(a.batch, expectedBeams) : 1; }

/** Plans the launch; returns false if shared memory is too small. */
template <class T, int P, int MTiles>
bool planFor(const AttentionArguments& a, RangeGroups groups, const Launcher& launcher, Plan& plan) {
  using S = Shape<T, P, MTiles>;
  const int64_t rows = a.queries * (a.heads / a.keyValueHeads), multiprocessors = launcher.multiprocessors;
  plan.groups = groups;
  plan.tiles = int(divideUp<int64_t>(rows * expectedGroup(a), S::rows));
  plan.round = int(divideUp<int64_t>(min<int64_t>(a.keys, maxRound), roundStep)) * roundStep;
  while (plan.round > roundStep && S::sharedBytes(plan.round) > launcher.sharedMemory) plan.round -= roundStep;
  // The largest clusters that are all resident at once, as far as is known; a cluster's blocks are on neighbouring
  // multiprocessors, so not every place can be filled. Several waves of clusters would each wait for all their keys;
  // blocks with several rounds compute one while they load the next.
  const int64_t resident = (multiprocessors - multiprocessors / 11) * residentBlocks<T, P>;
  const int64_t keys = a.keyBegin ? min<int64_t>(a.keyLimit, expectedRange) : a.keys;
  const int64_t tiles = groups.minimum > 1 ? divideUp<int64_t>(a.batch, expectedBeams) * plan.tiles
                                           : a.batch * divideUp<int64_t>(rows, S::rows);
  plan.cluster = 1;
  while (plan.cluster < portableCluster && keys > plan.cluster * maxRound &&
         tiles * a.keyValueHeads * plan.cluster * 2 <= resident)
    plan.cluster *= 2;
  return S::sharedBytes(plan.round) <= launcher.sharedMemory;
}

/** Calls body(T{}, size, tiles), where the types of size and tiles hold the kernel's P and MTiles. */
template <class Body>
cudaError_t withKernel(const AttentionArguments& a, Body body) {
  const bool one = a.queries * (a.heads / a.keyValueHeads) * expectedGroup(a) <= 16;
  return withType(a.type, [&](auto element) {
    auto sized = [&](auto size) {
      return one ? body(element, size, std::integral_constant<int, 1>{})
                 : body(element, size, std::integral_constant<int, 2>{});
    };
    return a.headSize <= 64 ? sized(std::integral_constant<int, 64>{}) : sized(std::integral_constant<int, 128>{});
  });
}

}  // namespace

bool clusterAttentionFits(const AttentionArguments& a, const Launcher& launcher) {
  if (!launcher.clusters || a.keyScales || a.queries * (a.heads / a.keyValueHeads) > maxRows) return false;
  bool fits = false;
  withKernel(a, [&](auto element, auto size, auto tiles) {
    Plan plan;
    fits = planFor<decltype(element), size.value, tiles.value>(a, {}, launcher, plan);
    return cudaSuccess;
  });
  return fits;
}

cudaError_t clusterAttention(const AttentionArguments& a, RangeGroups groups, const Launcher& launcher) {
  return withKernel(a, [&](auto element, auto size, auto tiles) {
    using T = decltype(element);
    using S = Shape<T, size.value, tiles.value>;
    Plan plan;
    planFor<T, size.value, tiles.value>(a, groups, launcher, plan);
    const dim3 grid(unsigned(plan.tiles * plan.cluster), unsigned(a.keyValueHeads), unsigned(a.batch));
    return launchClusters(launcher, plan.cluster, clusterAttentionKernel<T, size.value, tiles.value>, grid,
                          dim3(threads), S::sharedBytes(plan.round), a, plan);
  });
}

}  // namespace onehead::cuda
