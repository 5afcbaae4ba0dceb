// split-kv of decode steps over a cache that the step does not write: cross-attention. 16-bit types or int8 caches, and
// heads of 64. Up to 8 entries that share their range of a pool, such as the beams of a window, or up to 8 heads on one
// key/value head, are computed together.
//
// Shapes   q [batch, 1, heads, 64], k and v [batch, keys, key/value heads, 64] -> y [batch, 1, heads, 64]
// Launch   grid (cluster, key/value heads x tiles of 8 heads of a group, batch), 128 threads; the blocks of a head are
//          a cluster of 1 to 8. Shared memory: 4 KB for each warp and stage of its ring, two to four of them (int8: 2.1
//          KB, four to eight), and 2.5 KB of partial results
// Bytes    2 keys x 64 elements per key/value head, read once; everything else is small
// Work     two products of 16x8x16 for 16 depths of 8 keys, and as many for their values; one exponential per score
// Method   The bytes are the bound, so memory must never rest. Each warp takes every n-th tile of 16 keys of its head,
//          and has all stages of its ring in flight with cp.async, each replaced as soon as it is used. A lane reads
//          only what it copied itself, so the ring needs no barrier, and has no bank conflicts. Both products run on
//          tensor cores, without exchanges between lanes. Scores: keys are columns of the second operand, and depths
//          are ordered so that a lane's 16 bytes of a key are its parts of two products. Values: a word holds two
//          neighbouring columns of a key, where the product expects two neighbours along its depth. So the depth
//          counts both; the first operand has a weight and a zero in its upper eight rows, and a zero and the weight in
//          its lower eight: the upper sums are those of even columns, the lower of odd ones. Weights are rounded to the
//          type of the values, as in attention_cluster.cu. Blocks combine as in attention_decode.cu.
// int8     Keys and values are widened in registers, which is exact. Scales of keys multiply scores; those of values
//          multiply weights, relative to the largest scale so far, so that small scales lose no precision.
// Early    Tiles of the ring are requested before the previous kernel has ended.
//
// History
//   Measured before, with other kernels, on an H200 at commit 8c906c2e (20 heads, 1,500 keys, float16; microseconds at
//   batch 1 / 8 / 32): cross-attention 4.2 / 25.1 / 57.7, of ranges 4.1 / 27.5 / 60.8, with int8 caches 4.8 / 24.1 /
//   54.1 (attention_decode.cu); five beams of each range 51.3 at batch 8 and 179 at 32 (attention_cluster.cu).
//   Predicted for this kernel, not measured: cross-attention 4.0 / 17.5 / 57, of ranges the same, with int8 caches 4.2
//   / 12 / 34; five beams 20 to 25 and 65 to 75. It would be used only where that is a clear
//   gain: `ringPays` in attention.cu. One key/value head (today 4.8 / 6.1 / 14.2) would take 3.6 / 4.5 / 7.5 to 10 if a
//   cluster had 24 rows, but with registers for only three blocks per multiprocessor; left out until it can be
//   measured. With int8 caches, where attention_streaming.cu took 15.8 for one row, three clusters of 8 rows read the
//   same keys, two from the L2 cache.
//   Until it is measured, a GPU uses it only with ONEHEAD_CUDA_WITH=ring (scripts/gpu-session.sh compares).
//   Registers for 90a: 90 to 93 (int8: 96 to 118); no spills, on 8.0, 10.0 and 12.0 neither.
#include "ring_parts.h"

namespace onehead::cuda {

namespace {

/** Stages of a ring of `Depth` tiles of a 16-bit type: twice as many for int8, which takes half the bytes. */
template <class C>
constexpr int stagesOf(int depth) {
  return Stage<C>::bytes ? 2 * depth : depth;
}
template <class C>
constexpr size_t ringBytes(int depth) {
  return size_t(warps) * size_t(stagesOf<C>(depth)) * size_t(Stage<C>::size);
}
/** Shared memory: the rings, or the partial results of warps; and what a cluster's blocks send to each: columns of each
 * row, and each row's maximum and sum. */
template <class C>
constexpr size_t sharedBytes(int depth) {
  return ringBytes<C>(depth) + tileRows * (size + 2 * portableCluster) * sizeof(float);
}
static_assert(ringBytes<int8_t>(2) >= tileRows * warps * part * sizeof(float));

/** Resident blocks per multiprocessor that the kernel is compiled for: as many as 227 KB of shared memory hold. */
constexpr int residentBlocksOf(int depth) { return depth == 2 ? 5 : depth == 3 ? 4 : 3; }

/** C is the cache's type: T or int8_t. */
template <class T, class C, bool Ranges, int Depth>
__global__ void __launch_bounds__(threads, residentBlocksOf(Depth))
    ringKernel(const __grid_constant__ AttentionArguments a) {
  using S = Stage<C>;
  constexpr int stages = stagesOf<C>(Depth);
  ONEHEAD_SHARED(std::byte, shared);
  const Lane lane;
  const int thread = int(threadIdx.x), warp = thread / 32, split = int(blockIdx.x);
  const int64_t b = blockIdx.z;
  // Rows are heads of a key/value head's group, or entries that share their range.
  const int groupSize = int(a.heads) / int(a.keyValueHeads), rowTiles = divideUp(groupSize, tileRows);
  const int keyHead = int(blockIdx.y) / rowTiles, firstOfGroup = int(blockIdx.y) % rowTiles * tileRows;
  const int head = keyHead * groupSize + firstOfGroup;
  const bool grouped = groupSize > 1;
  letNextKernelStart();
  if (!a.pastUnchanged) waitForPreviousKernel();
  const Entry entry = Ranges ? entryOfRange(a, b) : entryOfRow(a, b);
  auto entryIndex = [&](int row) { return grouped ? b : b + row; };
  auto headOfRow = [&](int row) { return grouped ? head + row : head; };
  auto output = [&](int row) {
    return static_cast<T*>(const_cast<void*>(a.y.data)) + entryIndex(row) * a.y.batchStride + headOfRow(row) * size;
  };
  int rows = min(groupSize - firstOfGroup, tileRows);
  if (entry.keys == 0) {  // nothing is visible: the output is zero
    waitForPreviousKernel();
    if (split == 0 && thread < size)
      for (int row = 0; row < rows; ++row) output(row)[thread] = fromFloat<T>(0.0f);
    return;
  }
  if (Ranges && !grouped) rows = rangeGroupSize<tileRows>(a, b);
  const int ranks = entry.keys <= singleBlockKeys ? 1 : int(gridDim.x);
  // Blocks without work wait too: the next kernel's wait for this one must imply that all earlier ones have ended.
  if (rows == 0 || split >= ranks) return waitForPreviousKernel();
  if (ranks > 1) startInCluster();

  // 1. Fill the ring.
  std::byte* const ring = shared + warp * stages * S::size;
  const LaneSource source = sourceOf<C, Ranges>(a, entry, keyHead, lane);
  const int tiles = divideUp(entry.keys, tileKeys), step = ranks * warps, firstTile = split * warps + warp;
#pragma unroll
  for (int stage = 0; stage < stages; ++stage) {
    const int tile = firstTile + stage * step;
    if (tile < tiles) fetchTile<C>(ring + stage * S::size, source, tile, lane);
    commitCopies();
  }
  prefetchShare(a.prefetch);
  waitForPreviousKernel();

  // 2. Load the query of row `group`.
  uint32_t query[8] = {};
  float* scoreOutput = nullptr;
  const bool hasRow = lane.group < rows;
  if (hasRow) {
    const int64_t own = headOfRow(lane.group);
    loadQuery<C>(query, static_cast<const T*>(a.q.data) + entryIndex(lane.group) * a.q.batchStride + own * size, lane);
    scoreOutput = scoresOf(a, b, grouped ? 0 : lane.group, own);
  }

  // 3. Scores, streaming softmax, weighted sum of values.
  const float scale = a.scale * log2E;
  RowState state;
  int stage = 0;
  for (int tile = firstTile; tile < tiles; tile += step) {
    std::byte* const from = ring + stage * S::size;
    waitForCopies<stages - 1>();
    if constexpr (S::bytes) __syncwarp();  // lanes read each other's scales
    const float* const scales = reinterpret_cast<const float*>(from + S::scalesAt) + lane.quad * 2;
    float scores[2][4] = {}, relative[2][2], valueFactor = 1;
    computeScores<T, C>(scores, query, from, lane);
    if constexpr (S::bytes) takeScales(relative, valueFactor, state, scales);
    weigh<C>(scores, state, scale, scales, tile * tileKeys + lane.quad * 2, entry.keys, scoreOutput, int(a.scoreKeys),
             valueFactor);
    addValues<T, C>(state, scores, relative, from, lane);
    if constexpr (S::bytes) __syncwarp();  // all have read the scales
    if (tile + stages * step < tiles) fetchTile<C>(from, source, tile + stages * step, lane);
    commitCopies();
    stage = stage + 1 == stages ? 0 : stage + 1;
  }

  // 4. Combine warps, then blocks: each combines some of the columns. Partial results take the place of the rings.
  float *const parts = reinterpret_cast<float*>(shared),  // [rows][warps][part]
      *const received = reinterpret_cast<float*>(shared + ringBytes<C>(Depth));
  __syncthreads();
  storeState<C>(hasRow ? parts + (lane.group * warps + warp) * part : nullptr, state, lane);
  __syncthreads();
  const int columns = size / ranks;
  float2* const states = reinterpret_cast<float2*>(received + tileRows * size);
  if (ranks > 1) clusterWait();  // all blocks have started
  for (int index = thread; index < rows * size; index += threads) {
    const int row = index / size, column = index % size, from = split * tileRows + row;
    const Joined block = joinAtOnce<warps>(parts + row * warps * part, warps, size, column);
    if (ranks == 1) {
      output(row)[column] = fromFloat<T>(block.value / block.sum);
      continue;
    }
    storeToRank(received + from * columns + column % columns, column / columns, block.value);
    if (column < ranks) storeToRank(states + from, column, make_float2(block.maximum, block.sum));
  }
  if (ranks == 1) return;
  clusterBarrier();
  for (int index = thread; index < rows * columns; index += threads) {
    const int row = index / columns, column = index % columns;
    output(row)[split * columns + column] =
        fromFloat<T>(combineReceived(received + row * columns + column, states + row, ranks, columns));
  }
}

/** The grid's second dimension. */
int64_t rowTilesOf(const AttentionArguments& a) {
  return a.keyValueHeads * divideUp<int64_t>(a.heads / a.keyValueHeads, tileRows);
}

/** The largest clusters that are all resident at once, and have a tile for each warp; deeper rings if that suffices. */
struct Division {
  int cluster = 1, depth = 2;
};
Division divisionOf(const AttentionArguments& a, const Launcher& launcher) {
  const int64_t heads = a.batch * rowTilesOf(a), keys = a.keyLimit;
  auto clusterFor = [&](int depth) {
    const int64_t resident = launcher.multiprocessors * int64_t(residentBlocksOf(depth)) -
                             launcher.multiprocessors / 11;  // see clustersOf in attention_decode.cu
    int cluster = portableCluster;
    while (cluster > 1 && (heads * cluster > resident || keys < int64_t(cluster) * warps * tileKeys)) cluster /= 2;
    return cluster;
  };
  Division division;
  division.depth = 4;
  while (division.depth > 2 && clusterFor(division.depth) < clusterFor(2)) --division.depth;
  division.cluster = clusterFor(division.depth);
  // No more stages than a warp has tiles.
  const int64_t tileOfAll = int64_t(division.cluster) * warps * tileKeys * (a.keyScales ? 2 : 1);
  while (division.depth > 2 && (division.depth - 1) * tileOfAll >= keys) --division.depth;
  return division;
}

}  // namespace

bool ringFits(const AttentionArguments& a, const Launcher& launcher) {
  return launcher.ringAttention && launcher.clusters && a.type != DType::float32 && a.headSize == size &&
         a.queries == 1 && !a.newKey.data && !a.source;
}

cudaError_t ringAttention(const AttentionArguments& a, const Launcher& launcher) {
  const auto [cluster, depth] = divisionOf(a, launcher);
  const dim3 grid(unsigned(cluster), unsigned(rowTilesOf(a)), unsigned(a.batch));
  auto typed = [&](auto element) {
    using T = decltype(element);
    auto start = [&](auto stored, auto tiles) {
      using C = decltype(stored);
      constexpr int Depth = decltype(tiles)::value;
      const auto kernel = a.keyBegin ? ringKernel<T, C, true, Depth> : ringKernel<T, C, false, Depth>;
      return launchClusters(launcher, cluster, kernel, grid, dim3(threads), sharedBytes<C>(Depth), a);
    };
    auto cachedAs = [&](auto stored) {
      if (depth == 2) return start(stored, std::integral_constant<int, 2>{});
      if (depth == 3) return start(stored, std::integral_constant<int, 3>{});
      return start(stored, std::integral_constant<int, 4>{});
    };
    return a.keyScales ? cachedAs(int8_t{}) : cachedAs(element);
  };
  return a.type == DType::float16 ? typed(float16{}) : typed(bfloat16{});
}

}  // namespace onehead::cuda
