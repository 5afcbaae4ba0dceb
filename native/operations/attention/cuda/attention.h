// What the attention kernels share: visible keys, addresses of rows, and combining splits.
#pragma once

#include "cuda/kernels/numeric.h"

namespace onehead::cuda {

/** Where the new rows of the sequence in this state row begin. Clamped, so that no value in device memory makes a
 * kernel access anything outside the cache. */
__device__ inline int startOf(const AttentionArguments& a, int64_t row) {
  return a.start ? int(min<int64_t>(max(a.start[row], 0), a.keys)) : 0;
}

/** How many keys query `i` of a sequence attends to. */
__device__ inline int visibleKeys(const AttentionArguments& a, int start, int64_t i) {
  return a.causal ? int(min<int64_t>(a.keys, start + i + 1)) : int(a.keys);
}

/** What an entry of the batch reads. */
struct Entry {
  int keyRow = 0;           // row of keys and values
  int first = 0, keys = 0;  // its first key in that row, and how many keys its last query sees; 0 if idle
  int start = 0;            // position of its first new row
};

/** An entry that reads a range of a pool of positions. */
__device__ inline Entry entryOfRange(const AttentionArguments& a, int64_t b) {
  const int64_t row = stateRow(a, b);
  if (row < 0) return {};
  const int begin = a.keyBegin[row];
  const int64_t room = begin < 0 ? 0 : min<int64_t>(a.keys - begin, a.keyLimit);
  return {0, begin, int(max<int64_t>(min<int64_t>(a.keyCount[row], room), 0)), 0};
}
/** An entry that reads a row of the cache. */
__device__ inline Entry entryOfRow(const AttentionArguments& a, int64_t b) {
  const int64_t row = stateRow(a, b);
  if (row < 0) return {};
  const int start = startOf(a, row);
  return {int(row), 0, visibleKeys(a, start, a.queries - 1), start};
}
__device__ inline Entry entryOf(const AttentionArguments& a, int64_t b) {
  return a.keyBegin ? entryOfRange(a, b) : entryOfRow(a, b);
}
/** How many keys query `i` of an entry sees. */
__device__ inline int visibleKeys(const AttentionArguments& a, const Entry& entry, int64_t i) {
  return a.keyBegin ? entry.keys : visibleKeys(a, entry.start, i);
}

/** The most entries that one block serves together because they read the same range. */
constexpr int maxRangeGroup = 16;

/** The beams of a window, for choosing how to launch; there may be more. */
constexpr int expectedBeams = 5;

/**
 * How many entries from b on, at most `Most`, read the same range of a pool of positions and are served by b's blocks;
 * 0 if an earlier entry's blocks serve b. Called by whole warps: each lane examines one of 32 entries, so it takes no
 * longer than examining one. Neighbours on both sides of a multiple of 32 are not joined.
 */
template <int Most = maxRangeGroup>
__device__ inline int rangeGroupSize(const AttentionArguments& a, int64_t b) {
  const int lane = int(threadIdx.x) % 32, ownLane = int(b % 32);
  const int64_t other = b - ownLane + lane;
  const Entry entry = other < a.batch ? entryOfRange(a, other) : Entry();
  const int first = __shfl_sync(allLanes, entry.first, ownLane), keys = __shfl_sync(allLanes, entry.keys, ownLane);
  const unsigned same = __ballot_sync(allLanes, entry.first == first && entry.keys == keys);
  const unsigned before = ownLane ? same << (32 - ownLane) : 0, after = same >> ownLane;
  if (__clz(int(~before)) % Most) return 0;
  return after == ~0u ? Most : min(__ffs(int(~after)) - 1, Most);
}

/** The cache row that holds a key of an entry. */
__device__ inline int cacheRow(const AttentionArguments& a, int64_t key, const Entry& entry) {
  int row = entry.keyRow;
  if (a.source && key < entry.start) {  // block table
    const int32_t from = a.source[int64_t(row) * a.keys + key];
    if (from >= 0 && from < a.pool) row = from;
  }
  return row;
}

/** The index of a key among all positions of a contiguous cache. */
__device__ inline int64_t cachePosition(const AttentionArguments& a, int64_t key, const Entry& entry) {
  return cacheRow(a, key, entry) * a.keys + entry.first + key;
}

/** A row of keys or values: one of the new rows, or a row of the cache. */
template <class T>
__device__ inline const T* keyRow(const AttentionArguments& a, const AttentionView& all, const AttentionView& appended,
                                  int64_t b, int64_t key, const Entry& entry) {
  if (appended.data && key >= entry.start && key < entry.start + a.queries)
    return static_cast<const T*>(appended.data) + b * appended.batchStride + (key - entry.start) * appended.rowStride;
  return static_cast<const T*>(all.data) + cacheRow(a, key, entry) * all.batchStride +
         (entry.first + key) * all.rowStride;
}

/** Where the scores of a query and head go, [scoreKeys]; null if they are not wanted. `query` counts across entries,
 * from entry b on. */
__device__ inline float* scoresOf(const AttentionArguments& a, int64_t b, int64_t query, int64_t head) {
  if (!a.scores) return nullptr;
  int64_t to = b * a.queries + query, row = to;  // rows of a pool have one query per entry
  if (a.rows) row = stateRow(a, to);
  if (row < 0) return nullptr;
  if (a.scoreRow) to = a.scoreRow[row];
  const int64_t position = a.scorePosition[row], column = a.scoreHeads[head];
  if (to < 0 || to >= a.scoreSequences) return nullptr;
  if (position < 0 || position >= a.scoreRows || column < 0 || column >= a.scoreWidth) return nullptr;
  return a.scores + ((to * a.scoreRows + position) * a.scoreWidth + column) * a.scoreKeys;
}

constexpr float ln2 = 0.69314718055994531f;  // ln 2: scores are kept in base 2

/** Floats of a partial result: the weighted values, the maximum score (base 2) and the sum of weights. Padded, so that
 * the next one is aligned to 16 bytes. */
__host__ __device__ inline int64_t partialSize(int64_t headSize) { return headSize + 4; }

/** The most splits of a row: each lane of a warp loads the state of one. */
constexpr int maxSplits = 32;
/** The most keys for which one block computes a whole row. Derived from figures of an H200, not measured directly: a
 * split costs about 2 us (a fence, an atomic counter and two dependent reads from the L2 cache), and each further step
 * of 64 keys about 0.7 us. */
constexpr int singleBlockKeys = 192;

/** The factor of one split's weighted values: the values times their factors add up to the result. Each lane passes the
 * state of one split; lanes without a split pass -infinity. */
__device__ inline float splitFactor(float partMaximum, float sum) {
  const float maximum = warpMax(partMaximum);
  const float factor = partMaximum == -infinity ? 0.0f : exp2Fast(partMaximum - maximum);
  return factor / warpSum(sum * factor);
}

/** A lane's split factor (see splitFactor) for a row whose `count` partial results other blocks of this launch wrote,
 * `part` elements apart. */
__device__ inline float loadSplitFactor(const float* parts, int64_t part, int count, int size, int lane) {
  float2 state = make_float2(-infinity, 0.0f);
  if (lane < count) state = loadUncached(reinterpret_cast<const float2*>(parts + lane * part + size));
  return splitFactor(state.x, state.y);
}

/** The number of splits, in units of a tile of keys, that fill the GPU if `blocks` blocks do not. */
inline int64_t splitsFor(int64_t keys, int64_t tile, int64_t blocks, int64_t blocksPerMultiprocessor,
                         const Launcher& launcher) {
  const int64_t wanted = divideUp<int64_t>(launcher.multiprocessors * blocksPerMultiprocessor, blocks);
  return max<int64_t>(1, min<int64_t>(min(wanted, divideUp(keys, tile)), maxSplits));
}

// Implemented in attention_decode.cu, attention_ring.cu, attention_streaming.cu, attention_cluster.cu,
// attention_warpgroup.cu and attention_baselines.cu.
/** One query, and a key/value head for each query head, or so few keys that reading them for each head costs little. */
bool decodeFits(const AttentionArguments& arguments, const Launcher& launcher);
/** For ranges of a pool, decodeAttention skips entries that share theirs: another kernel computes those. */
Needs decodeNeeds(const AttentionArguments& arguments, const Launcher& launcher);
cudaError_t decodeAttention(const AttentionArguments& arguments, const Launcher& launcher);
/** Sizes of groups of entries with the same range of a pool that a kernel serves; it skips smaller ones. */
struct RangeGroups {
  int minimum = 1, maximum = 1;
};
Needs streamingNeeds(const AttentionArguments& arguments, bool split, RangeGroups groups, const Launcher& launcher);
cudaError_t streamingAttention(const AttentionArguments& arguments, bool split, RangeGroups groups,
                               const Launcher& launcher);
/** clusterAttention is splitKeyValue, for groups of entries with the same range of a pool too. It needs no scratch. */
bool clusterAttentionFits(const AttentionArguments& arguments, const Launcher& launcher);
cudaError_t clusterAttention(const AttentionArguments& arguments, RangeGroups groups, const Launcher& launcher);
/** One query, 16-bit types, heads of 64, and nothing to append. For ranges of a pool ringAttention computes all
 * entries, also those that share theirs. */
bool ringFits(const AttentionArguments& arguments, const Launcher& launcher);
cudaError_t ringAttention(const AttentionArguments& arguments, const Launcher& launcher);
bool warpgroupFits(const AttentionArguments& arguments, const Launcher& launcher);
cudaError_t warpgroupAttention(const AttentionArguments& arguments, const Launcher& launcher);
Needs baselineNeeds(const AttentionArguments& arguments);
AttentionStages baselineStages(const AttentionArguments& arguments);
cudaError_t baselineAttention(const AttentionArguments& arguments, const Launcher& launcher);

}  // namespace onehead::cuda
