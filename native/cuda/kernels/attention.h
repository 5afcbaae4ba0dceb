// What the attention kernels share: which keys a query sees, where its rows lie, and how parts are combined.
#pragma once

#include "numeric.h"

namespace onehead::cuda {

/** Where a sequence's new rows begin. Whatever the device's memory says, nothing outside of the cache is touched. */
__device__ inline int startOf(const AttentionArguments& a, int64_t b) {
  return a.start ? int(least<int64_t>(most(a.start[b], 0), a.keys)) : 0;
}

/** The keys that query `i` of a sequence sees: 0 ... this - 1. */
__device__ inline int visibleKeys(const AttentionArguments& a, int start, int64_t i) {
  return a.causal ? int(least<int64_t>(a.keys, start + i + 1)) : int(a.keys);
}

/** A row of keys or values: from the rows to append where it is one of them, else from the tensor. */
template <class T>
__device__ inline const T* keyRow(const AttentionArguments& a, const AttentionView& all, const AttentionView& appended,
                                  int64_t b, int64_t key, int start) {
  if (appended.data && key >= start && key < start + a.queries)
    return static_cast<const T*>(appended.data) + b * appended.batchStride + (key - start) * appended.rowStride;
  int64_t row = b;
  if (a.source && key < start) {  // a cache that is reordered by index
    const int32_t from = a.source[b * a.keys + key];
    if (from >= 0 && from < a.batch) row = from;
  }
  return static_cast<const T*>(all.data) + row * all.batchStride + key * all.rowStride;
}

/** Where the scores of a query and a head are wanted, [keys]; null where they are not. */
__device__ inline float* scoresOf(const AttentionArguments& a, int64_t b, int64_t query, int64_t head) {
  if (!a.scores) return nullptr;
  const int64_t row = b * a.queries + query, place = a.scorePosition[row], column = a.scoreHeads[head];
  if (place < 0 || place >= a.scoreRows || column < 0 || column >= a.scoreWidth) return nullptr;
  return a.scores + ((row * a.scoreRows + place) * a.scoreWidth + column) * a.keys;
}

constexpr float naturalLog2 = 0.69314718055994531f;  // scores are kept in base 2

/** Elements of a partial result: weighted values, then the highest score (base 2) and the sum of weights. */
__host__ __device__ inline int64_t partialSize(int64_t headSize) { return headSize + 2; }

/** Partial results joined; `value` is one element of the weighted values, not yet divided by the sum. */
struct JoinedParts {
  float highest = -infinity, sum = 0, value = 0;
};

/** Joins `count` partial results, `stride` elements apart, for element `c`. `load` reads where they are: the block's
 * shared memory, or what other blocks wrote. */
template <class Load>
__device__ inline JoinedParts joinParts(const float* parts, int64_t stride, int64_t count, int64_t size, int64_t c,
                                        Load load) {
  JoinedParts joined;
  for (int64_t i = 0; i < count; ++i) joined.highest = fmaxf(joined.highest, load(parts + i * stride + size));
  for (int64_t i = 0; i < count; ++i) {
    const float* part = parts + i * stride;
    const float factor = exp2Fast(load(part + size) - joined.highest);
    joined.sum += load(part + size + 1) * factor;
    if (c < size) joined.value += load(part + c) * factor;
  }
  return joined;
}

/** Splits of the keys, in steps of a tile, that fill the device when `blocks` blocks do not. */
inline int64_t splitsFor(int64_t keys, int64_t tile, int64_t blocks, int64_t blocksPerMultiprocessor,
                         const Launcher& launcher) {
  const int64_t wanted = divideUp<int64_t>(launcher.multiprocessors * blocksPerMultiprocessor, blocks);
  return most<int64_t>(1, least(wanted, divideUp(keys, tile)));
}

/** One file each: attention_decode.cu, attention_streaming.cu, attention_baselines.cu. */
bool decodeFits(const AttentionArguments& arguments);
AttentionNeeds decodeNeeds(const AttentionArguments& arguments, const Launcher& launcher);
cudaError_t decodeAttention(const AttentionArguments& arguments, const Launcher& launcher);
AttentionNeeds streamingNeeds(const AttentionArguments& arguments, bool split, const Launcher& launcher);
cudaError_t streamingAttention(const AttentionArguments& arguments, bool split, const Launcher& launcher);
AttentionNeeds baselineNeeds(const AttentionArguments& arguments, AttentionAlgorithm algorithm);
std::vector<AttentionStage> baselineStages(const AttentionArguments& arguments, AttentionAlgorithm algorithm);
cudaError_t baselineAttention(const AttentionArguments& arguments, AttentionAlgorithm algorithm, AttentionStage stage,
                              const Launcher& launcher);

}  // namespace onehead::cuda
