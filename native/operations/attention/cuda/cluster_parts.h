// Parts of attention_cluster.cu: how a launch is divided, and the steps of its kernel.
#pragma once

#include "cuda/kernels/tensor_core.h"
#include "streaming_parts.h"

namespace onehead::cuda {

namespace {

constexpr int warps = 8, threads = warps * 32;
constexpr int maxRound = singleBlockKeys;  // the most keys that a block has in shared memory
constexpr int roundStep = 32;
constexpr int maxRows = 96;  // of an entry's key/value head; more are a matter of throughput

/** P is the head size rounded up to 64 or 128. */
template <class T, int P, int MTiles>
struct Shape {
  static constexpr int rows = MTiles * 16;
  static constexpr int stride = P + vectorSize<T>;  // padded row: avoids bank conflicts
  static constexpr int state = P, part = P + 4;     // a row's weighted values; from `state` on its maximum and sum
  static constexpr int chunks = divideUp(maxRound, warps * 16);  // of 16 keys, for each warp
  static constexpr int mTiles = MTiles, depthTiles = P / 16, columnTiles = P / (8 * warps);
  // What a thread holds, in the layout of tensor_core.h: its rows are `group` and `group + 8` of each 16.
  using Scores = float[chunks][mTiles][2][4];
  using RowFloats = float[mTiles][2];
  using RowInts = int[mTiles][2];
  using Result = float[mTiles][columnTiles][4];
  __host__ __device__ static constexpr int weightStride(int round) { return round + vectorSize<T>; }
  static constexpr size_t sharedBytes(int round) {
    return size_t(2 * round * stride + rows * stride + rows * weightStride(round)) * sizeof(T) +
           size_t(rows * (part + 2 * warps)) * sizeof(float);
  }
};

struct Plan {
  int cluster, tiles, round;  // blocks of a cluster, row tiles of the grid, keys of a round
  RangeGroups groups;         // entries whose rows one cluster may have
};

/** Copies rows `first` to `last` of keys or values to where those from `from` on begin; zeros for rows from `to` on. */
template <class T, int P, int Stride>
__device__ inline void fetchRows(const AttentionArguments& a, const AttentionView& all, const AttentionView& appended,
                                 const Entry& entry, int b, int keyHead, T* rows, int from, int first, int last,
                                 int to) {
  constexpr int vector = vectorSize<T>, chunks = P / vector, atOnce = 4;
  const int size = int(a.headSize), end = (last - from) * chunks;
  for (int chunk0 = (first - from) * chunks + int(threadIdx.x); chunk0 < end; chunk0 += atOnce * threads) {
    // The rows of a block table are loaded at once, since copies are not reordered with loads.
    const T* source[atOnce];
#pragma unroll
    for (int u = 0; u < atOnce; ++u) {
      const int chunk = chunk0 + u * threads, key = from + chunk / chunks, column = chunk % chunks * vector;
      source[u] = nullptr;
      if (chunk >= end || key >= to || column >= size) continue;
      source[u] = keyRow<T>(a, all, appended, b, key, entry) + keyHead * size + column;
    }
#pragma unroll
    for (int u = 0; u < atOnce; ++u) {
      const int chunk = chunk0 + u * threads;
      if (chunk >= end) break;
      copyAsync16(rows + chunk / chunks * Stride + chunk % chunks * vector,
                  source[u] ? source[u] : static_cast<const T*>(all.data), source[u] ? 16 : 0);
    }
  }
}

/** Loads B[32][8] of values as two products' operands: 32 keys, 8 columns. */
template <class T>
__device__ inline void loadColumns(Pair<T> (&b)[2][2], const T* tile, int stride) {
  const int lane = int(threadIdx.x) % 32;
  if constexpr (std::is_same_v<T, float>) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const T* at = tile + (i * 8 + lane % 4 * 2) * stride + lane / 4;
      b[i / 2][i % 2] = make_float2(at[0], at[stride]);
    }
  } else {
    uint32_t words[4];
    loadMatrices<true>(words, tile + lane * stride);
#pragma unroll
    for (int i = 0; i < 4; ++i) b[i / 2][i % 2] = words[i];
  }
}

/** Writes an entry's new rows of a key/value head to the cache. */
template <class T>
__device__ inline void appendRows(const AttentionArguments& a, const Entry& entry, int b, int keyHead, int size,
                                  int thread) {
  constexpr int vector = vectorSize<T>;
  const int sizeChunks = size / vector, all = int(a.queries) * sizeChunks * 2;
  for (int i = thread; i < all; i += threads) {
    const int row = i / 2 / sizeChunks;
    if (entry.start + row >= a.keys) continue;
    const int at = keyHead * size + i / 2 % sizeChunks * vector;
    const AttentionView &from = i % 2 ? a.newValue : a.newKey, &to = i % 2 ? a.v : a.k;
    T* cache = static_cast<T*>(const_cast<void*>(to.data)) + entry.keyRow * to.batchStride +
               (entry.start + row) * to.rowStride + at;
    *reinterpret_cast<uint4*>(cache) = *reinterpret_cast<const uint4*>(
        static_cast<const T*>(from.data) + b * from.batchStride + row * from.rowStride + at);
  }
}

/** The scores of a round's keys, on tensor cores: each warp those of every eighth 16 keys. */
template <class S, class T>
__device__ inline void computeScores(typename S::Scores& scores, const T* queries, const T* keys, int warp,
                                     int padded) {
#pragma unroll
  for (int k = 0; k < S::depthTiles; ++k) {
    Pair<T> left[S::mTiles][4];
#pragma unroll
    for (int m = 0; m < S::mTiles; ++m) loadA<T>(left[m], queries + m * 16 * S::stride + k * 16, S::stride);
#pragma unroll
    for (int c = 0; c < S::chunks; ++c) {
      const int first = (warp + c * warps) * 16;
      if (first >= padded) break;
      Pair<T> right[2][2];
      loadB<T>(right, keys + first * S::stride + k * 16, S::stride);
#pragma unroll
      for (int m = 0; m < S::mTiles; ++m) {
        multiply<T>(scores[c][m][0], left[m], right[0]);
        multiply<T>(scores[c][m][1], left[m], right[1]);
      }
    }
  }
}

/** Scales the scores, hides keys that a row does not see, and puts each warp's maximum of a row into `maxima`. */
template <class S>
__device__ inline void findMaxima(typename S::Scores& scores, float* maxima, const typename S::RowInts& visible,
                                  const AttentionArguments& a, int from, int count, int warp, int group, int quad) {
  const float scale = a.scale * log2E;
#pragma unroll
  for (int m = 0; m < S::mTiles; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int seen = min(visible[m][half], from + count);
      float highest = -infinity;
#pragma unroll
      for (int c = 0; c < S::chunks; ++c)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          float& score = scores[c][m][i / 2][half * 2 + i % 2];
          const int key = from + (warp + c * warps) * 16 + i / 2 * 8 + quad * 2 + i % 2;
          score = key < seen ? score * scale : -infinity;
          highest = fmaxf(highest, score);
        }
      highest = warpMax<4>(highest);
      if (quad == 0) maxima[(m * 16 + half * 8 + group) * warps + warp] = highest;
    }
}

/** Turns scores into weights in shared memory, relative to the maximum of all warps and rounds so far; rescales the
 * sums of weights and the values. `isFirst`: there are no sums yet. */
template <class S, class T>
__device__ inline void computeWeights(typename S::Scores& scores, typename S::RowFloats& maximum,
                                      typename S::Result& result, const float* maxima, float* totals, T* weights,
                                      int weightStride, bool isFirst, int padded, int warp, int group, int quad) {
#pragma unroll
  for (int m = 0; m < S::mTiles; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = m * 16 + half * 8 + group;
      const float2 two = *reinterpret_cast<const float2*>(maxima + row * warps + quad * 2);
      const float newMaximum = fmaxf(maximum[m][half], warpMax<4>(fmaxf(two.x, two.y)));
      float sum = 0;
      const float base = newMaximum == -infinity ? 0.0f : newMaximum;  // the row has seen no key yet
      const float factor = exp2Fast(maximum[m][half] - base);
      maximum[m][half] = newMaximum;
#pragma unroll
      for (int c = 0; c < S::chunks; ++c) {
        const int first = (warp + c * warps) * 16;
        if (first >= padded) break;
#pragma unroll
        for (int n = 0; n < 2; ++n) {
          const float low = exp2Fast(scores[c][m][n][half * 2] - base),
                      high = exp2Fast(scores[c][m][n][half * 2 + 1] - base);
          sum += low + high;
          *reinterpret_cast<Pair<T>*>(weights + row * weightStride + first + n * 8 + quad * 2) = makePair<T>(low, high);
        }
      }
#pragma unroll
      for (int n = 0; n < S::columnTiles; ++n) {
        result[m][n][half * 2] *= factor;
        result[m][n][half * 2 + 1] *= factor;
      }
      sum = warpSum<4>(sum);
      if (quad == 0) {
        float& total = totals[row * warps + warp];
        total = isFirst ? sum : fmaf(total, factor, sum);
      }
    }
}

/** Combines the rows that this block received from the blocks of its cluster, and stores them. */
template <class T, class S, class OutputOf>
__device__ inline void combineParts(const float* received, const OutputOf& outputOf, int thread, int size, int slots,
                                    int ranks, int rank, int row0, int lastRow) {
  const int pairs = size / 2;
  for (int index = thread; index < slots * pairs; index += threads) {
    const int slot = index / pairs, column = index % pairs * 2, row = row0 + slot * ranks + rank;
    if (row > lastRow) break;
    const float* part = received + slot * S::part;
    auto partOf = [&](int i) { return part + i * slots * S::part; };
    float highest = -infinity, total = 0, low = 0, high = 0;
#pragma unroll
    for (int i = 0; i < portableCluster; ++i)
      if (i < ranks) highest = fmaxf(highest, partOf(i)[S::state]);
#pragma unroll
    for (int i = 0; i < portableCluster; ++i) {
      if (i >= ranks) break;
      const float2 state = *reinterpret_cast<const float2*>(partOf(i) + S::state);
      const float2 pair = *reinterpret_cast<const float2*>(partOf(i) + column);
      const float factor = exp2Fast(state.x - highest);  // 0 for a block without keys
      total = fmaf(state.y, factor, total);
      low = fmaf(pair.x, factor, low);
      high = fmaf(pair.y, factor, high);
    }
    const float factor = 1.0f / total;
    *reinterpret_cast<Pair<T>*>(outputOf(row) + column) = makePair<T>(low * factor, high * factor);
  }
}

}  // namespace

}  // namespace onehead::cuda
