// Parts of attention_cluster.cu: how a launch is divided, and how rows come to shared memory and to registers.
#pragma once

#include "cuda/kernels/tensor_core.h"
#include "streaming_parts.h"

namespace onehead::cuda {

namespace {

constexpr int warps = 8, threads = warps * 32;
constexpr int maxRound = singleBlockKeys;  // the most keys that a block has in shared memory
constexpr int roundStep = 32;
constexpr int maxRows = 96;  // of an entry's key/value head; more are a matter of throughput
/** The beams of a window that the grid has row tiles for; clusters loop if there are more. */
constexpr int expectedBeams = 5;

/** P is the head size rounded up to 64 or 128. */
template <class T, int P, int MTiles>
struct Shape {
  static constexpr int rows = MTiles * 16;
  static constexpr int stride = P + vectorSize<T>;               // padded row: avoids bank conflicts
  static constexpr int part = P + 4;                             // a row's weighted values, maximum and sum
  static constexpr int chunks = divideUp(maxRound, warps * 16);  // of 16 keys, for each warp
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

}  // namespace

}  // namespace onehead::cuda
