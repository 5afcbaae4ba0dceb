// Parts of attention_ring.cu: the ring of a warp, and the steps of its kernel.
#pragma once

#include "attention_running.h"
#include "cuda/kernels/bytes.h"
#include "cuda/kernels/tensor_core.h"

namespace onehead::cuda {

namespace {

constexpr int warps = 4, threads = warps * 32;
constexpr int size = 64;        // of a head
constexpr int tileKeys = 16;    // of a stage of a warp's ring
constexpr int tileRows = 8;     // the most rows that a cluster serves: entries or heads that read the same keys
constexpr int part = size + 4;  // floats of a partial result, see partialSize
static_assert(maxRangeGroup % tileRows == 0);

/** A lane in the layout of tensor_core.h. */
struct Lane {
  int index = int(threadIdx.x) % 32, group = index / 4, quad = index % 4;
};

/** A stage of a warp's ring: for each 8 keys, a lane's 16 bytes of two vectors of keys (int8: one) and of two of values
 * (int8: 8 bytes); then scales of int8 keys and of values. */
template <class C>
struct Stage {
  static constexpr bool bytes = std::is_same_v<C, int8_t>;
  static constexpr int keyVectors = bytes ? 1 : 2, valueBytes = bytes ? 8 : 16;
  static constexpr int valuesAt = 2 * keyVectors * 512, scalesAt = valuesAt + 4 * valueBytes * 32;
  static constexpr int size = scalesAt + (bytes ? 2 * tileKeys * int(sizeof(float)) : 0);
  __device__ static int keyAt(int half, int i, const Lane& lane) {
    return ((half * keyVectors + i) * 32 + lane.index) * 16;
  }
  __device__ static int valueAt(int half, int i, const Lane& lane) {
    return valuesAt + ((half * 2 + i) * 32 + lane.index) * valueBytes;
  }
};

/** Where a lane reads a head's keys and values. */
struct LaneSource {
  const std::byte *keys, *values;  // this lane's part of the first
  uint32_t keyBytes, valueBytes;   // of a row
  const float* scales;             // of int8 keys for the first 16 lanes, of values for the others
  int64_t scaleStep;
  int count;
};

template <class C, bool Ranges>
__device__ inline LaneSource sourceOf(const AttentionArguments& a, const Entry& entry, int keyHead, const Lane& lane) {
  auto cached = [&](const AttentionView& all) {
    return static_cast<const std::byte*>(all.data) +
           (keyHead * size + (Ranges ? entry.first * all.rowStride : entry.keyRow * all.batchStride)) *
               int64_t(sizeof(C));
  };
  LaneSource from{.keys = cached(a.k) + lane.quad * 16,
                  .values = cached(a.v) + lane.group * Stage<C>::valueBytes,
                  .keyBytes = uint32_t(a.k.rowStride * sizeof(C)),
                  .valueBytes = uint32_t(a.v.rowStride * sizeof(C)),
                  .scales = nullptr,
                  .scaleStep = a.keyValueHeads,
                  .count = entry.keys};
  if constexpr (Stage<C>::bytes)
    from.scales = (lane.index < tileKeys ? a.keyScales : a.valueScales) +
                  (entry.keyRow * a.keys + entry.first) * a.keyValueHeads + keyHead;
  return from;
}

/** Starts copying a tile to a stage. A lane copies, of each 8 keys, the vectors of key `group`, and those of values
 * 2 quad and 2 quad + 1. */
template <class C>
__device__ inline void fetchTile(std::byte* to, const LaneSource& from, int tile, const Lane& lane) {
  using S = Stage<C>;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int key0 = tile * tileKeys + half * 8, key = key0 + lane.group;
    const std::byte* keyRow = from.keys + uint64_t(uint32_t(key)) * from.keyBytes;
#pragma unroll
    for (int i = 0; i < S::keyVectors; ++i)
      copyAsync16(to + S::keyAt(half, i, lane), keyRow + i * 64, key < from.count ? 16 : 0);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int value = key0 + lane.quad * 2 + i;
      const std::byte* valueRow = from.values + uint64_t(uint32_t(value)) * from.valueBytes;
      if constexpr (S::bytes)
        copyAsyncSmall<8>(to + S::valueAt(half, i, lane), valueRow, value < from.count);
      else
        copyAsync16(to + S::valueAt(half, i, lane), valueRow, value < from.count ? 16 : 0);
    }
  }
  if constexpr (S::bytes) {
    const int key = tile * tileKeys + lane.index % tileKeys;
    copyAsyncSmall<4>(to + S::scalesAt + lane.index * 4, from.scales + key * from.scaleStep, key < from.count);
  }
}

/** Loads this lane's depths of a query: those of its vectors of keys. */
template <class C>
__device__ inline void loadQuery(uint32_t (&query)[8], const void* from, const Lane& lane) {
  constexpr bool bytes = Stage<C>::bytes;  // then 16 depths side by side, otherwise 8, and 8 that are 32 further
  const uint4* vectors = static_cast<const uint4*>(from) + lane.quad * (bytes ? 2 : 1);
  const uint4 low = vectors[0], high = vectors[bytes ? 1 : 4];
  query[0] = low.x, query[1] = low.y, query[2] = low.z, query[3] = low.w;
  query[4] = high.x, query[5] = high.y, query[6] = high.z, query[7] = high.w;
}

/** The products of a lane's query with the keys of a tile: [half][0] and [1] are keys 2 quad and 2 quad + 1 of each 8.
 * The other two elements belong to rows that do not exist. */
template <class T, class C>
__device__ inline void computeScores(float (&scores)[2][4], const uint32_t (&query)[8], const std::byte* stage,
                                     const Lane& lane) {
  using S = Stage<C>;
#pragma unroll
  for (int half = 0; half < 2; ++half)
#pragma unroll
    for (int i = 0; i < S::keyVectors; ++i) {
      const uint4 key = *reinterpret_cast<const uint4*>(stage + S::keyAt(half, i, lane));
      const uint32_t words[4] = {key.x, key.y, key.z, key.w};
      constexpr int products = S::bytes ? 4 : 2;
#pragma unroll
      for (int k = 0; k < products; ++k) {
        uint32_t pair[2] = {words[k * 2 % 4], words[k * 2 % 4 + 1]};
        if constexpr (S::bytes) widenBytes<T>(words[k], pair[0], pair[1]);
        const int depth = (i * products + k) * 2;
        multiply<T>(scores[half], {query[depth], 0, query[depth + 1], 0}, pair);
      }
    }
}

/** A lane's part of the streaming softmax of row `group`. */
struct RowState {
  float maximum = -infinity, sum = 0;
  float values[4][4] = {};  // of word j of a lane's values, even columns in [j][0] and [1], odd ones in [2] and [3]
  float unit = 0;           // int8: the largest scale of values so far, by which weights and values are divided
};

/** The scales of a lane's values, divided by the largest so far, which is the new unit; and the old one, divided by
 * it. */
__device__ inline void takeScales(float (&relative)[2][2], float& valueFactor, RowState& row, const float* scales) {
  float largest = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    relative[i / 2][i % 2] = scales[tileKeys + i / 2 * 8 + i % 2];
    largest = fmaxf(largest, relative[i / 2][i % 2]);
  }
  const float unit = fmaxf(fmaxf(row.unit, warpMax<4>(largest)), 0x1p-120f), inverse = reciprocalFast(unit);
#pragma unroll
  for (int i = 0; i < 4; ++i) relative[i / 2][i % 2] *= inverse;
  valueFactor = row.unit * inverse;
  row.unit = unit;
}

/** Turns the scores of a tile into weights, relative to the row's maximum so far, and rescales its sums. `keys` are
 * those from the lane's first on; `scales` belong to them. */
template <class C>
__device__ inline void weigh(float (&scores)[2][4], RowState& row, float scale, const float* scales, int key0, int keys,
                             float* output, int outputKeys, float valueFactor) {
  float highest = -infinity;
#pragma unroll
  for (int half = 0; half < 2; ++half)
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int key = key0 + half * 8 + i;
      float score = scores[half][i] * scale;
      if constexpr (Stage<C>::bytes) score *= scales[half * 8 + i];
      score = key < keys ? score : -infinity;
      if (output && key < min(keys, outputKeys)) output[key] = score * ln2;
      scores[half][i] = score;
      highest = fmaxf(highest, score);
    }
  const float maximum = fmaxf(row.maximum, warpMax<4>(highest));
  const float base = maximum == -infinity ? 0.0f : maximum, factor = exp2Fast(row.maximum - base);
  row.maximum = maximum;
  row.sum *= factor;
#pragma unroll
  for (int half = 0; half < 2; ++half)
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      scores[half][i] = exp2Fast(scores[half][i] - base);
      row.sum += scores[half][i];
    }
#pragma unroll
  for (int j = 0; j < 4; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) row.values[j][i] *= factor * valueFactor;
}

/** Adds the values of a tile, times their weights. */
template <class T, class C>
__device__ inline void addValues(RowState& row, const float (&weights)[2][4], const float (&relative)[2][2],
                                 const std::byte* stage, const Lane& lane) {
  using S = Stage<C>;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    uint32_t values[2][4], left[4];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const std::byte* at = stage + S::valueAt(half, i, lane);
      float weight = weights[half][i];
      if constexpr (S::bytes) {
        const uint2 both = *reinterpret_cast<const uint2*>(at);
        widenBytes<T>(both.x, values[i][0], values[i][1]);
        widenBytes<T>(both.y, values[i][2], values[i][3]);
        weight *= relative[half][i];
      } else {
        const uint4 all = *reinterpret_cast<const uint4*>(at);
        values[i][0] = all.x, values[i][1] = all.y, values[i][2] = all.z, values[i][3] = all.w;
      }
      left[i * 2] = makePair<T>(weight, 0.0f);  // for even columns
      left[i * 2 + 1] = left[i * 2] << 16;      // for odd ones
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) multiply<T>(row.values[j], left, {values[0][j], values[1][j]});
  }
}

/** Stores a warp's partial result of row `group`. Called by whole warps; `own` is null if there is no such row. */
template <class C>
__device__ inline void storeState(float* own, const RowState& row, const Lane& lane) {
  const float total = warpSum<4>(row.sum), factor = Stage<C>::bytes ? row.unit : 1.0f;
  if (!own) return;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const float(&four)[4] = row.values[j];
    float2* columns = reinterpret_cast<float2*>(own + lane.quad * 16 + j * 2);
    columns[0] = make_float2(four[0] * factor, four[2] * factor);
    columns[4] = make_float2(four[1] * factor, four[3] * factor);
  }
  if (lane.quad == 0) *reinterpret_cast<float2*>(own + size) = make_float2(row.maximum, total);
}

/** A column of a row from what the cluster's blocks have sent: `values` and `states` are those of the first block. */
__device__ inline float combineReceived(const float* values, const float2* states, int ranks, int columns) {
  float2 state[portableCluster];
  float value[portableCluster], highest = -infinity, total = 0, result = 0;
#pragma unroll
  for (int i = 0; i < portableCluster; ++i) {
    state[i] = i < ranks ? states[i * tileRows] : make_float2(-infinity, 0.0f);
    value[i] = i < ranks ? values[i * tileRows * columns] : 0.0f;
    highest = fmaxf(highest, state[i].x);
  }
#pragma unroll
  for (int i = 0; i < portableCluster; ++i) {
    const float factor = state[i].x == -infinity ? 0.0f : exp2Fast(state[i].x - highest);
    total = fmaf(state[i].y, factor, total);
    result = fmaf(value[i], factor, result);
  }
  return result / total;
}

}  // namespace

}  // namespace onehead::cuda
