// Parts of attention_decode.cu: kinds of blocks, the rows of keys and values that a lane has in flight, and how the
// splits of a head are combined without clusters.
#pragma once

#include "attention_running.h"
#include "cache_vector.h"

namespace onehead::cuda {

namespace {

constexpr int threads = 128, warps = threads / 32;
/** The fewest keys for which another block pays: 4 warps read 16 half-precision rows at once, four times. */
constexpr int minKeysPerSplit = 64;

/** Kinds of blocks. The blocks of a head are a cluster if they are wide or narrow, and apart on GPUs without clusters.
 * Wide blocks have three times as many keys in flight: they read up to 192 half-precision rows of 64 elements in one
 * round of memory latency. Narrow ones suit longer parts, since more of them fit: some load while others compute. */
enum class Blocks { wide, narrow, apart };
/** Keys that a lane has in flight. An int8 key has half the bytes, so narrow blocks take more of them. */
constexpr int keysInFlightOf(Blocks kind, bool bytes) {
  return kind == Blocks::wide ? 12 : kind == Blocks::narrow && bytes ? 6 : 4;
}
/** How many of them are computed at once. */
constexpr int keysAtOnceOf(Blocks kind, bool bytes) {
  return kind == Blocks::wide || (kind == Blocks::narrow && bytes) ? 6 : 4;
}
/** Resident blocks per multiprocessor that the kernel is compiled for: three leave 168 registers, five 96, four 128.
 * Grouped heads need more registers, for the addresses of both a head and its group's. */
constexpr int residentBlocksOf(Blocks kind, bool grouped) {
  return (kind == Blocks::wide ? 3 : kind == Blocks::narrow ? 5 : 4) - int(grouped);
}

/** Where a lane reads its elements of a head's keys and values. Those of a row are divided over neighbouring lanes. */
template <class C>
struct LaneRows {
  const C *keys, *values;                   // in the row or range of the cache that the entry reads
  const float *keyScales, *valueScales;     // of int8 caches, at the same place
  int keyStride, valueStride, scaleStride;  // between positions
  int64_t keyHead, keyHeads;
  int end;             // of the keys that this block computes
  int newPosition;     // of the new row; -1 if there is none
  bool holdsElements;  // false in the padding of a head that is narrower than P
  bool hasTable;       // a block table says from which row of the cache each key comes
  bool appends;        // there is a new row, which is read from where it was computed, never from the cache
};

/** Whether addresses come from 32-bit strides in registers. For the most keys in flight there are no registers left. */
template <class C>
constexpr bool usesStrides(bool ranges, int keysInFlight) {
  return ranges || (std::is_same_v<C, int8_t> && keysInFlight <= 6);
}

/** The address of element `count * stride`, in one instruction: of 64-bit strides the compiler makes five. */
template <class Element>
__device__ inline const Element* elementAt(const Element* first, int count, int stride) {
#if defined(__CUDACC__)
  const Element* result;
  asm("mad.wide.s32 %0, %1, %2, %3;" : "=l"(result) : "r"(count), "r"(stride * int(sizeof(Element))), "l"(first));
  return result;
#else
  return first + int64_t(count) * stride;
#endif
}

/** Starts loading keys and values key0, key0 + step, ... from the cache. */
template <bool Ranges, int step, class C, int Count>
__device__ inline void loadRows(CacheVector<C> (&k)[Count], CacheVector<C> (&v)[Count], const AttentionArguments& a,
                                const Entry& entry, const LaneRows<C>& from, int key0) {
  constexpr bool bytes = std::is_same_v<C, int8_t>;
  int others[Count];  // the row of the cache, relative to the entry's
#pragma unroll
  for (int u = 0; u < Count; ++u) others[u] = 0;
  if (from.hasTable) {
    const int32_t* table = a.source + int64_t(entry.keyRow) * a.keys;
#pragma unroll
    for (int u = 0; u < Count; ++u) {
      const int key = key0 + u * step;
      others[u] = key < min(from.end, entry.start) ? table[key] : -1;
    }
#pragma unroll
    for (int u = 0; u < Count; ++u) others[u] = others[u] >= 0 && others[u] < a.pool ? others[u] - entry.keyRow : 0;
  }
#pragma unroll
  for (int u = 0; u < Count; ++u) {
    const int key = key0 + u * step;
    const bool wanted = from.holdsElements && key < from.end && (Ranges || key != from.newPosition);
    if constexpr (usesStrides<C>(Ranges, Count)) {
      auto rowOf = [&](auto* first, int stride, int64_t batchStride) {
        auto* row = elementAt(first, key, stride);
        return Ranges ? row : elementAt(row, others[u], int(batchStride));  // see decodeFits
      };
      const C *kRow = rowOf(from.keys, from.keyStride, a.k.batchStride),
              *vRow = rowOf(from.values, from.valueStride, a.v.batchStride);
      if constexpr (bytes) {
        const int64_t scalesOfRow = a.keys * from.scaleStride;
        k[u].loadIf(wanted, kRow, rowOf(from.keyScales, from.scaleStride, scalesOfRow));
        v[u].loadIf(wanted, vRow, rowOf(from.valueScales, from.scaleStride, scalesOfRow));
      } else {
        k[u].loadIf(wanted, kRow);
        v[u].loadIf(wanted, vRow);
      }
    } else {
      const C *kRow = from.keys + key * a.k.rowStride + others[u] * a.k.batchStride,
              *vRow = from.values + key * a.v.rowStride + others[u] * a.v.batchStride;
      if constexpr (bytes) {
        const int64_t scale = ((entry.keyRow + others[u]) * a.keys + key) * from.keyHeads + from.keyHead;
        k[u].loadIf(wanted, kRow, a.keyScales + scale);
        v[u].loadIf(wanted, vRow, a.valueScales + scale);
      } else {
        k[u].loadIf(wanted, kRow);
        v[u].loadIf(wanted, vRow);
      }
    }
  }
}

/** Takes the new row if it is one of those that loadRows was called for. int8 caches: it is quantized by then. */
template <bool Ranges, int step, class C, int Count, class NewRow>
__device__ inline void takeNewRow(CacheVector<C> (&k)[Count], CacheVector<C> (&v)[Count], const AttentionArguments& a,
                                  const LaneRows<C>& from, const CacheVector<C>& newKey, const CacheVector<C>& newValue,
                                  NewRow newRow, int key0) {
  if constexpr (!Ranges) {
    if (!from.appends) return;
#pragma unroll
    for (int u = 0; u < Count; ++u) {
      const bool isNew = from.holdsElements && key0 + u * step == from.newPosition;
      if constexpr (!std::is_same_v<C, int8_t>) {
        k[u].loadIf(isNew, newRow(a.newKey));
        v[u].loadIf(isNew, newRow(a.newValue));
      } else if (isNew) {
        k[u] = newKey;
        v[u] = newValue;
      }
    }
  }
}

/** Writes a lane's elements of the new row, from element `at` on, to the cache. */
template <class T, bool ByStrides, class C, class NewRow>
__device__ inline void appendNewRow(const AttentionArguments& a, const Entry& entry, const LaneRows<C>& rows,
                                    const CacheVector<C>& newKey, const CacheVector<C>& newValue, const NewRow& newRow,
                                    int at, int lane) {
  for (int which = 0; which < 2; ++which) {
    const AttentionView &from = which ? a.newValue : a.newKey, &to = which ? a.v : a.k;
    if constexpr (std::is_same_v<C, int8_t>) {
      const int64_t position = entry.keyRow * a.keys + entry.start;
      C* row = static_cast<C*>(const_cast<void*>(to.data)) + position * to.rowStride + at;
      const CacheVector<C>& quantized = which ? newValue : newKey;
      *reinterpret_cast<uint2*>(row) = quantized.raw;
      if (lane == 0) {
        if constexpr (ByStrides)
          const_cast<float*>(which ? rows.valueScales : rows.keyScales)[int64_t(entry.start) * rows.scaleStride] =
              quantized.factor();
        else
          (which ? a.valueScales : a.keyScales)[position * rows.keyHeads + rows.keyHead] = quantized.factor();
      }
      continue;
    }
    T* row =
        static_cast<T*>(const_cast<void*>(to.data)) + entry.keyRow * to.batchStride + entry.start * to.rowStride + at;
    *reinterpret_cast<uint4*>(row) = *reinterpret_cast<const uint4*>(newRow(from));
  }
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

}  // namespace

}  // namespace onehead::cuda
