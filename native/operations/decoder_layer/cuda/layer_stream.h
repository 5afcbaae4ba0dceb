// Of decoder_layer.cu: what a lane reads of a layer's weights, keys and values, in the order in which it uses them.
#pragma once

#include "../../attention/cuda/attention_running.h"

namespace onehead::cuda {

namespace {

constexpr int cluster = 16;
constexpr int threads = 256, warps = threads / 32;
constexpr int mostHeadSize = 64;
constexpr int stepsAhead = 11, chunksOfStep = 4, keysOfStep = chunksOfStep / 2;
constexpr int streamBytes = stepsAhead * chunksOfStep * threads * 16;

/** Columns of a product that a warp makes: neighbours, all warps of the cluster in order. */
__host__ __device__ inline int columnsOfWarp(const FewRowsArguments& m) {
  return divideUp(int(m.columns), warps * cluster);
}
__device__ inline int firstColumn(const FewRowsArguments& m) {
  return (rankOf(cluster) * warps + int(threadIdx.x) / 32) * columnsOfWarp(m);
}

/** A warp has a head, whose keys come in groups of 32 / (lanes of a key); block r of the cluster has group r of each
 * sixteen. */
template <class T>
__device__ inline int keyOfStep(int turn, int u) {
  constexpr int lanes = mostHeadSize / vectorSize<T>;
  return ((turn * keysOfStep + u) * cluster + rankOf(cluster)) * (32 / lanes) + int(threadIdx.x) % 32 / lanes;
}
/** Steps over the keys that an entry sees. */
template <class T>
__device__ inline int turnsOf(const Entry& entry) {
  constexpr int lanes = mostHeadSize / vectorSize<T>;
  return divideUp(entry.keys, keysOfStep * cluster * (32 / lanes));
}

/**
 * The stream of one lane, in steps of four chunks of 16 bytes: four columns of a weight, or two keys and their values.
 * A lane copies what it reads itself, so no barrier stands between the copy and its use, and the stream runs on over
 * the meetings of products and attentions.
 */
template <class T>
struct Stream {
  const DecoderLayerArguments& o;
  uint4* ring;
  Entry self, cross;  // what the two attentions see

  __device__ Stream(const DecoderLayerArguments& o, uint4* ring, const Entry& self, const Entry& cross)
      : o(o), ring(ring + threadIdx.x), self(self), cross(cross) {}

  /** Waits for the oldest step, and gives its chunks, `threads` apart. `fetch` may overwrite them. */
  __device__ const uint4* next() {
    waitForCopies<stepsAhead - 1>();
    const uint4* step = ring + read_ * chunksOfStep * threads;
    read_ = read_ + 1 == stepsAhead ? 0 : read_ + 1;
    return step;
  }

  /** Asks for one more step; behind the layer's last there are none. */
  __device__ void fetch() {
    while (stage_ < stages && outer_ >= outerCount()) {
      ++stage_;
      outer_ = 0;
    }
    if (stage_ < stages) {
      uint4* to = ring + written_ * chunksOfStep * threads;
      if (attends())
        fetchKeys(to);
      else
        fetchColumns(to);
      if (++inner_ >= innerCount()) {
        inner_ = 0;
        ++outer_;
      }
    }
    written_ = written_ + 1 == stepsAhead ? 0 : written_ + 1;
    commitCopies();
  }

 private:
  // Products and attentions in turn: query key value, self-attention, out, query, cross-attention, out, up, down.
  static constexpr int stages = 8, selfStage = 1, crossStage = 4;
  __device__ bool attends() const { return stage_ == selfStage || stage_ == crossStage; }
  __device__ const FewRowsArguments& product() const {
    return o.products[stage_ - (stage_ > selfStage) - (stage_ > crossStage)];
  }
  __device__ const AttentionArguments& attention() const { return stage_ == selfStage ? o.self : o.cross; }
  __device__ const Entry& entry() const { return stage_ == selfStage ? self : cross; }
  __device__ int outerCount() const {
    if (!attends()) return divideUp(columnsOfWarp(product()), chunksOfStep);
    return turnsOf<T>(entry()) == 0 ? 0 : divideUp(int(attention().heads), warps);
  }
  __device__ int innerCount() const {
    return attends() ? turnsOf<T>(entry()) : divideUp(int(product().depth), 32 * vectorSize<T>);
  }

  __device__ void fetchColumns(uint4* to) const {
    const FewRowsArguments& m = product();
    const int count = columnsOfWarp(m), at = (inner_ * 32 + int(threadIdx.x) % 32) * vectorSize<T>;
#pragma unroll
    for (int u = 0; u < chunksOfStep; ++u) {
      const int place = outer_ * chunksOfStep + u, column = firstColumn(m) + place;
      if (place < count && column < int(m.columns) && at < int(m.depth))
        copyAsync16(to + u * threads, static_cast<const T*>(m.weight) + column * m.depth + at, 16);
    }
  }
  __device__ void fetchKeys(uint4* to) const {
    constexpr int lanes = mostHeadSize / vectorSize<T>;
    const AttentionArguments& a = attention();
    const int head = outer_ * warps + int(threadIdx.x) / 32, chunk = int(threadIdx.x) % lanes * vectorSize<T>;
    if (head >= int(a.heads) || chunk >= int(a.headSize)) return;
#pragma unroll
    for (int u = 0; u < keysOfStep; ++u) {
      const int key = keyOfStep<T>(inner_, u);
      if (key >= entry().keys || (stage_ == selfStage && key == entry().start)) continue;
      const int64_t at = head * a.headSize + chunk;
      copyAsync16(to + (2 * u) * threads, keyRow<T>(a, a.k, {}, 0, key, entry()) + at, 16);
      copyAsync16(to + (2 * u + 1) * threads, keyRow<T>(a, a.v, {}, 0, key, entry()) + at, 16);
    }
  }

  int stage_ = 0, outer_ = 0, inner_ = 0;  // of the step that is asked for next
  int written_ = 0, read_ = 0;             // places in the ring
};

}  // namespace

}  // namespace onehead::cuda
