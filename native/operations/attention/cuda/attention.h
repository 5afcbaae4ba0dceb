// What the attention kernels share: which keys a query sees, where its rows lie, and how parts are combined.
#pragma once

#include "cuda/kernels/numeric.h"

namespace onehead::cuda {

/** Where the new rows of the sequence on this row begin. Whatever the device's memory says, nothing outside of the
 * cache is touched. */
__device__ inline int startOf(const AttentionArguments& a, int64_t row) {
  return a.start ? int(smaller<int64_t>(larger(a.start[row], 0), a.keys)) : 0;
}

/** The keys that query `i` of a sequence sees: 0 ... this - 1. */
__device__ inline int visibleKeys(const AttentionArguments& a, int start, int64_t i) {
  return a.causal ? int(smaller<int64_t>(a.keys, start + i + 1)) : int(a.keys);
}

/** What an entry of the batch reads. */
struct Entry {
  int keyRow = 0;           // of keys and values
  int first = 0, keys = 0;  // where its own keys begin in that, and how many its last query sees; none: it is idle
  int start = 0;            // where its new rows begin
};

/** Of a range of a pool of positions. */
__device__ inline Entry entryOfRange(const AttentionArguments& a, int64_t b) {
  const int64_t row = stateRow(a, b);
  if (row < 0) return {};
  const int begin = a.keyBegin[row];
  const int64_t room = begin < 0 ? 0 : a.keys - begin;
  return {0, begin, int(larger<int64_t>(smaller<int64_t>(a.keyCount[row], room), 0)), 0};
}
/** Of its row's keys. */
__device__ inline Entry entryOfRow(const AttentionArguments& a, int64_t b) {
  const int64_t row = stateRow(a, b);
  if (row < 0) return {};
  const int start = startOf(a, row);
  return {int(row), 0, visibleKeys(a, start, a.queries - 1), start};
}
__device__ inline Entry entryOf(const AttentionArguments& a, int64_t b) {
  return a.keyBegin ? entryOfRange(a, b) : entryOfRow(a, b);
}
/** The keys that query `i` of an entry sees. */
__device__ inline int visibleKeys(const AttentionArguments& a, const Entry& entry, int64_t i) {
  return a.keyBegin ? entry.keys : visibleKeys(a, entry.start, i);
}

/** Entries that share one pass over the positions that they see. */
constexpr int mostTogether = 16;

/**
 * How many neighbours from entry b on see the same range of a pool of positions, and are served by b's blocks; 0 where
 * those of an entry before b serve it. Whole warps call it: each lane looks at one of 32 entries, so that it takes no
 * longer than a look at one; neighbours on both sides of a multiple of 32 go apart.
 */
__device__ inline int entriesTogether(const AttentionArguments& a, int64_t b) {
  const int lane = int(threadIdx.x) % 32, place = int(b % 32);
  const int64_t other = b - place + lane;
  const Entry entry = other < a.batch ? entryOfRange(a, other) : Entry();
  const int first = __shfl_sync(allLanes, entry.first, place), keys = __shfl_sync(allLanes, entry.keys, place);
  const unsigned same = __ballot_sync(allLanes, entry.first == first && entry.keys == keys);
  const unsigned before = place ? same << (32 - place) : 0, after = same >> place;
  if (__clz(int(~before)) % mostTogether) return 0;
  return after == ~0u ? mostTogether : smaller(__ffs(int(~after)) - 1, mostTogether);
}

/** The row of a cache that holds one of an entry's keys. */
__device__ inline int cacheRow(const AttentionArguments& a, int64_t key, const Entry& entry) {
  int row = entry.keyRow;
  if (a.source && key < entry.start) {  // a cache that is reordered by index
    const int32_t from = a.source[int64_t(row) * a.keys + key];
    if (from >= 0 && from < a.pool) row = from;
  }
  return row;
}

/** Where a key lies among all positions of a cache without gaps. */
__device__ inline int64_t cachePlace(const AttentionArguments& a, int64_t key, const Entry& entry) {
  return cacheRow(a, key, entry) * a.keys + entry.first + key;
}

/** A row of keys or values: from the rows to append where it is one of them, else from the tensor. */
template <class T>
__device__ inline const T* keyRow(const AttentionArguments& a, const AttentionView& all, const AttentionView& appended,
                                  int64_t b, int64_t key, const Entry& entry) {
  if (appended.data && key >= entry.start && key < entry.start + a.queries)
    return static_cast<const T*>(appended.data) + b * appended.batchStride + (key - entry.start) * appended.rowStride;
  return static_cast<const T*>(all.data) + cacheRow(a, key, entry) * all.batchStride +
         (entry.first + key) * all.rowStride;
}

/** Where the scores of a query and a head are wanted, [scoreKeys]; null where they are not. Queries are counted through
 * all entries from b on. */
__device__ inline float* scoresOf(const AttentionArguments& a, int64_t b, int64_t query, int64_t head) {
  if (!a.scores) return nullptr;
  int64_t to = b * a.queries + query, row = to;  // with rows of a pool there is one query an entry
  if (a.rows) row = stateRow(a, to);
  if (row < 0) return nullptr;
  if (a.scoreRow) to = a.scoreRow[row];
  const int64_t place = a.scorePosition[row], column = a.scoreHeads[head];
  if (to < 0 || to >= a.scoreSequences) return nullptr;
  if (place < 0 || place >= a.scoreRows || column < 0 || column >= a.scoreWidth) return nullptr;
  return a.scores + ((to * a.scoreRows + place) * a.scoreWidth + column) * a.scoreKeys;
}

constexpr float naturalLog2 = 0.69314718055994531f;  // scores are kept in base 2

/** Elements of a partial result: weighted values, then the highest score (base 2) and the sum of weights; the rest
 * keeps what follows aligned to 16 bytes. */
__host__ __device__ inline int64_t partialSize(int64_t headSize) { return headSize + 4; }

/** Most partial results of a row: a lane of a warp takes one each. */
constexpr int mostParts = 32;
/** Keys up to which one block takes all of a row: by the H200's figures a split costs about 2 us, its blocks having to
 * meet (a fence, a count, and two reads of the second-level cache, one after another), a further step over 64 keys
 * about 0.7. Inferred, not measured by itself. */
constexpr int aloneKeys = 192;

/** What a warp's lanes know of one row's partial results, one each, as the factor that their weighted values count
 * with: these add up to the result. Lanes without one have the highest score -infinity. */
__device__ inline float shareOfPart(float highest, float sum) {
  const float above = warpMax(highest);
  const float factor = highest == -infinity ? 0.0f : exp2Fast(highest - above);
  return factor / warpSum(sum * factor);
}

/** Lane's share of a row whose `count` partial results, `part` elements apart, other blocks of this launch wrote. */
__device__ inline float loadShare(const float* parts, int64_t part, int count, int size, int lane) {
  float2 state = make_float2(-infinity, 0.0f);
  if (lane < count) state = loadFresh(reinterpret_cast<const float2*>(parts + lane * part + size));
  return shareOfPart(state.x, state.y);
}

/** Splits of the keys, in steps of a tile, that fill the device when `blocks` blocks do not. */
inline int64_t splitsFor(int64_t keys, int64_t tile, int64_t blocks, int64_t blocksPerMultiprocessor,
                         const Launcher& launcher) {
  const int64_t wanted = divideUp<int64_t>(launcher.multiprocessors * blocksPerMultiprocessor, blocks);
  return larger<int64_t>(1, smaller<int64_t>(smaller(wanted, divideUp(keys, tile)), mostParts));
}

/** One file each: attention_decode.cu, attention_streaming.cu, attention_warpgroup.cu, attention_baselines.cu. */
bool decodeFits(const AttentionArguments& arguments);
/** In ranges of a pool of positions, entries that share theirs with neighbours are left to streamingAttention. */
Needs decodeNeeds(const AttentionArguments& arguments, const Launcher& launcher);
cudaError_t decodeAttention(const AttentionArguments& arguments, const Launcher& launcher);
/** Which entries that see the same range of a pool of positions are served together: from so many on, at most so many.
 */
struct Together {
  int least = 1, most = 1;
};
Needs streamingNeeds(const AttentionArguments& arguments, bool split, Together together, const Launcher& launcher);
cudaError_t streamingAttention(const AttentionArguments& arguments, bool split, Together together,
                               const Launcher& launcher);
bool warpgroupFits(const AttentionArguments& arguments, const Launcher& launcher);
cudaError_t warpgroupAttention(const AttentionArguments& arguments, const Launcher& launcher);
Needs baselineNeeds(const AttentionArguments& arguments);
AttentionStages baselineStages(const AttentionArguments& arguments);
cudaError_t baselineAttention(const AttentionArguments& arguments, const Launcher& launcher);

}  // namespace onehead::cuda
