// Part of decoder_layer.cu: the weights, keys and values that a lane reads, as one stream in the order of use.
#pragma once

#include "../../attention/cuda/attention_running.h"

namespace onehead::cuda {

namespace {

constexpr int cluster = 16;
constexpr int threads = 256, warps = threads / 32;
constexpr int maxHeadSize = 64;
constexpr int stepsInFlight = 11, chunksPerStep = 4, keysPerStep = chunksPerStep / 2;
constexpr int streamBytes = stepsInFlight * chunksPerStep * threads * 16;

/** Columns of a product per warp. Warps of all blocks have consecutive ranges. */
__host__ __device__ inline int columnsPerWarp(const FewRowsArguments& m) {
  return divideUp(int(m.columns), warps * cluster);
}
__device__ inline int firstColumn(const FewRowsArguments& m) {
  return (rankOf(cluster) * warps + int(threadIdx.x) / 32) * columnsPerWarp(m);
}

/** The key that a lane handles. A warp has a head, whose keys are in groups of 32 / (lanes per key); block r of the
 * cluster has every sixteenth group, from group r on. */
template <class T>
__device__ inline int keyOfLane(int step, int u) {
  constexpr int lanes = maxHeadSize / vectorSize<T>;
  return ((step * keysPerStep + u) * cluster + rankOf(cluster)) * (32 / lanes) + int(threadIdx.x) % 32 / lanes;
}
/** Steps of the stream over the keys that an entry sees. */
template <class T>
__device__ inline int keySteps(const Entry& entry) {
  constexpr int lanes = maxHeadSize / vectorSize<T>;
  return divideUp(entry.keys, keysPerStep * cluster * (32 / lanes));
}

/**
 * The stream of one lane, in steps of four 16-byte chunks: four columns of a weight, or two keys and their values. A
 * lane copies what it reads itself, so no barrier is needed between copy and use, and the stream continues across the
 * cluster barriers between products and attentions.
 */
template <class T>
struct Stream {
  const DecoderLayerArguments& o;
  uint4* ring;
  Entry self, cross;  // what the two attentions read

  __device__ Stream(const DecoderLayerArguments& o, uint4* ring, const Entry& self, const Entry& cross)
      : o(o), ring(ring + threadIdx.x), self(self), cross(cross) {}

  /** Waits for the oldest step; returns its chunks, `threads` apart. The next `fetch` may overwrite them. */
  __device__ const uint4* next() {
    waitForCopies<stepsInFlight - 1>();
    const uint4* step = ring + read_ * chunksPerStep * threads;
    read_ = read_ + 1 == stepsInFlight ? 0 : read_ + 1;
    return step;
  }

  /** Requests one more step; nothing after the layer's last. */
  __device__ void fetch() {
    while (stage_ < stages && outer_ >= outerCount()) {
      ++stage_;
      outer_ = 0;
    }
    if (stage_ < stages) {
      uint4* to = ring + written_ * chunksPerStep * threads;
      if (attends())
        fetchKeys(to);
      else
        fetchColumns(to);
      if (++inner_ >= innerCount()) {
        inner_ = 0;
        ++outer_;
      }
    }
    written_ = written_ + 1 == stepsInFlight ? 0 : written_ + 1;
    commitCopies();
  }

 private:
  // Stages: query/key/value, self-attention, out, query, cross-attention, out, up, down.
  static constexpr int stages = 8, selfStage = 1, crossStage = 4;
  __device__ bool attends() const { return stage_ == selfStage || stage_ == crossStage; }
  __device__ const FewRowsArguments& product() const {
    return o.products[stage_ - (stage_ > selfStage) - (stage_ > crossStage)];
  }
  __device__ const AttentionArguments& attention() const { return stage_ == selfStage ? o.self : o.cross; }
  __device__ const Entry& entry() const { return stage_ == selfStage ? self : cross; }
  __device__ int outerCount() const {
    if (!attends()) return divideUp(columnsPerWarp(product()), chunksPerStep);
    return keySteps<T>(entry()) == 0 ? 0 : divideUp(int(attention().heads), warps);
  }
  __device__ int innerCount() const {
    return attends() ? keySteps<T>(entry()) : divideUp(int(product().depth), 32 * vectorSize<T>);
  }

  __device__ void fetchColumns(uint4* to) const {
    const FewRowsArguments& m = product();
    const int count = columnsPerWarp(m), at = (inner_ * 32 + int(threadIdx.x) % 32) * vectorSize<T>;
#pragma unroll
    for (int u = 0; u < chunksPerStep; ++u) {
      const int index = outer_ * chunksPerStep + u, column = firstColumn(m) + index;
      if (index < count && column < int(m.columns) && at < int(m.depth))
        copyAsync16(to + u * threads, static_cast<const T*>(m.weight) + column * m.depth + at, 16);
    }
  }
  __device__ void fetchKeys(uint4* to) const {
    constexpr int lanes = maxHeadSize / vectorSize<T>;
    const AttentionArguments& a = attention();
    const int head = outer_ * warps + int(threadIdx.x) / 32, chunk = int(threadIdx.x) % lanes * vectorSize<T>;
    if (head >= int(a.heads) || chunk >= int(a.headSize)) return;
#pragma unroll
    for (int u = 0; u < keysPerStep; ++u) {
      const int key = keyOfLane<T>(inner_, u);
      if (key >= entry().keys || (stage_ == selfStage && key == entry().start)) continue;
      const int64_t at = head * a.headSize + chunk;
      copyAsync16(to + (2 * u) * threads, keyRow<T>(a, a.k, {}, 0, key, entry()) + at, 16);
      copyAsync16(to + (2 * u + 1) * threads, keyRow<T>(a, a.v, {}, 0, key, entry()) + at, 16);
    }
  }

  int stage_ = 0, outer_ = 0, inner_ = 0;  // of the next step to request
  int written_ = 0, read_ = 0;             // indices in the ring
};

}  // namespace

}  // namespace onehead::cuda
