// A whole layer of a small decoder for one new token, in one cluster of blocks: norm, query, key and value, append,
// self-attention, out; norm, query, cross-attention, out; norm, feed-forward up and down.
//
// Shapes   x [1, depth] float32, weights [columns, depth of the product], keys and values as attention.h says
//          -> y [1, depth] float32
// Bytes    the layer's weights, and its keys and values, once
// Method   sixteen blocks, the most that a cluster may have, keep the layer's vectors (x, its norm, query, what the
//          attentions give, the inner row) in the shared memory of each. A warp makes its share of a product's columns
//          and writes them to all blocks; a meeting of the cluster stands between two products, where kernels apart
//          have a launch, a wait and a round through the second-level cache. In attention a warp has a head, and a
//          block every sixteenth group of its keys; a head's parts meet in the block of its number.
//          What is read from memory is one stream for each lane (layer_stream.h): all weights of the layer, and its
//          keys and values, in the order of their use. The stream is filled before the kernel before has ended, so
//          that the next layer's cluster, on other multiprocessors, has half of its bytes while this one computes.
//
// History
//   H200, commit 1dabc91, in kernels of their own: tiny 153 us a step at batch 1, floor 17. As six kernels a layer
//   (projected_attention.cu and cluster_product.cu) 17.4 us a layer are predicted, about 2.9 each for next to no bytes,
//   and 89 a step.
//   Prediction of this kernel at tiny's shapes, not measured: launch 0.5, x 0.8, three norms 0.6, products 2.6 (24
//   steps of the stream, 180 cycles of the schedulers each), self-attention 0.3, cross-attention 1.4 (12 steps of 200
//   cycles), nine meetings of 0.3 with their stores, joins 0.3: 9.2 us a layer, 56 a step. At base's shapes about 12 a
//   layer where six kernels take 17.4, and 96 a step for 128.
//   What a cluster can read was not measured. Its blocks share one of some eight groups of multiprocessors: an eighth
//   of what the second-level cache gives to all (5 to 6 TB/s) is 0.7 TB/s. At 0.75 the 6.4 MB of tiny's layer take 8.5
//   us, half of them before the layer begins; base's 10.4 MB 14, a third of them before. A small layer (21 MB) would
//   take 28, so it stays six kernels.
//   Registers on 90a: 104, no spills, 72 bytes of local memory for addresses.
#include "layer_stream.h"

namespace onehead::cuda {

namespace {

/** Where the layer's vectors lie in shared memory, in floats behind the stream. Norms and biases are there before the
 * wait; all else is written by the blocks for one another. */
struct Vectors {
  int norms, biases, x, normed, made, mixed, inner, parts, end;
};
__host__ __device__ inline Vectors vectorsOf(const DecoderLayerArguments& o) {
  const int depth = int(o.products[0].depth), inner = int(o.products[layerUp].columns);
  const int width = int(o.self.heads * o.self.headSize);
  Vectors v{};
  int at = 0;
  auto take = [&](int& where, int count) {
    where = at;
    at += (count + 3) / 4 * 4;
  };
  take(v.norms, layerNorms * 2 * depth);
  int biases = 0;
  for (int i = 0; i < layerProducts; ++i) biases += warps * columnsOfWarp(o.products[i]);
  take(v.biases, biases);
  take(v.x, depth);
  take(v.normed, depth);
  take(v.made, 3 * width);
  take(v.mixed, width);
  take(v.inner, inner);
  take(v.parts, cluster * int(partialSize(o.self.headSize)));
  v.end = at;
  return v;
}

/** A vector's element in every block of the cluster. Called by whole warps. */
__device__ inline void storeToAll(float* own, float value) {
  const int lane = int(threadIdx.x) % 32;
  if (lane < cluster) storeToRank(own, lane, value);
}

/** The norm of x, rounded to T, into `to`. Every warp finds mean and squares for itself. */
template <class T>
__device__ inline void normVector(float* to, const float* x, const float* norm, int depth, float epsilon) {
  const int lane = int(threadIdx.x) % 32;
  float sum = 0, squares = 0;
  for (int k = lane; k < depth; k += 32) sum += x[k];
  const float mean = warpSum(sum) / float(depth);
  for (int k = lane; k < depth; k += 32) squares = fmaf(x[k] - mean, x[k] - mean, squares);
  const float factor = rsqrtf(warpSum(squares) / float(depth) + epsilon);
  for (int k = int(threadIdx.x); k < depth; k += threads)
    to[k] = toFloat(fromFloat<T>(fmaf((x[k] - mean) * factor, norm[k], norm[depth + k])));
  __syncthreads();
}

/** This warp's columns of a product of the vector x; `finish(column, value)` is called by whole warps. */
template <class T, class Finish>
__device__ inline void multiplyVector(Stream<T>& stream, const FewRowsArguments& m, const float* x, const float* bias,
                                      Finish finish) {
  constexpr int vector = vectorSize<T>;
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  const int count = columnsOfWarp(m), first = firstColumn(m), chunks = int(m.depth) / vector;
  for (int c = 0; c < count; c += chunksOfStep) {
    float sums[chunksOfStep] = {};
    for (int round = 0; round * 32 < chunks; ++round) {
      const uint4* step = stream.next();
      const int chunk = round * 32 + lane;
      if (chunk < chunks) {
        float values[vector];
#pragma unroll
        for (int i = 0; i < vector; i += 4) {
          const float4 four = *reinterpret_cast<const float4*>(x + chunk * vector + i);
          values[i] = four.x, values[i + 1] = four.y, values[i + 2] = four.z, values[i + 3] = four.w;
        }
#pragma unroll
        for (int u = 0; u < chunksOfStep; ++u) {
          if (c + u >= count || first + c + u >= int(m.columns)) break;
          float weights[vector];
          unpack<T>(step[u * threads], weights);
#pragma unroll
          for (int i = 0; i < vector; ++i) sums[u] = fmaf(weights[i], values[i], sums[u]);
        }
      }
      stream.fetch();
    }
#pragma unroll
    for (int u = 0; u < chunksOfStep; ++u) sums[u] = warpSum(sums[u]);
#pragma unroll
    for (int u = 0; u < chunksOfStep; ++u)
      if (c + u < count && first + c + u < int(m.columns))
        finish(first + c + u, sums[u] * m.epilogue.scale + bias[warp * count + c + u]);
  }
}

/** Attention of the heads' query, in `made`, where the new key and value lie behind it; the heads' results come to
 * `mixed` in all blocks, behind two meetings of the cluster. */
template <class T>
__device__ inline void attend(Stream<T>& stream, const AttentionArguments& a, const Entry& entry, bool appends,
                              const float* made, float* parts, float* mixed) {
  constexpr int vector = vectorSize<T>, lanes = mostHeadSize / vector;
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32, rank = rankOf(cluster);
  const int size = int(a.headSize), width = int(a.heads) * size, part = int(partialSize(size));
  const int chunk = lane % lanes * vector, turns = turnsOf<T>(entry);
  const bool inside = chunk < size;  // lanes behind the head's elements have none
  for (int head = warp; head - warp < int(a.heads); head += warps) {
    const bool active = head < int(a.heads);
    float query[vector] = {};
    if (inside && active)
#pragma unroll
      for (int i = 0; i < vector; ++i) query[i] = made[head * size + chunk + i] * (a.scale * log2E);
    Running<vector> running;
    for (int turn = 0; turn < turns; ++turn) {
      const uint4* step = stream.next();
      float scores[keysOfStep], above = running.highest;
      auto keyOf = [&](int u) { return keyOfStep<T>(turn, u); };
      auto load = [&](float(&values)[vector], int u, int which) {
        if (appends && keyOf(u) == entry.start) {
#pragma unroll
          for (int i = 0; i < vector; ++i) values[i] = made[(1 + which) * width + head * size + chunk + i];
        } else {
          unpack<T>(step[(u * 2 + which) * threads], values);
        }
      };
#pragma unroll
      for (int u = 0; u < keysOfStep; ++u) {
        float score = 0, values[vector];
        const bool seen = active && keyOf(u) < entry.keys;
        if (inside && seen) {
          load(values, u, 0);
#pragma unroll
          for (int i = 0; i < vector; ++i) score = fmaf(query[i], values[i], score);
        }
        score = warpSum<lanes>(score);
        scores[u] = seen ? score : -infinity;
        above = fmaxf(above, scores[u]);
      }
      if (above > -infinity) {
        running.rescale(above);
#pragma unroll
        for (int u = 0; u < keysOfStep; ++u) {
          if (!inside || scores[u] == -infinity) continue;
          float values[vector];
          load(values, u, 1);
          running.add(exp2Fast(scores[u] - above), values);
        }
      }
      stream.fetch();
    }
    if (!active) continue;
    combineGroups<lanes>(running);
    float* own = parts + rank * part;
    if (lane < lanes && inside)
#pragma unroll
      for (int i = 0; i < vector; ++i) storeToRank(own + chunk + i, head, running.values[i]);
    if (lane > 0) continue;
    storeToRank(own + size, head, running.highest);
    storeToRank(own + size + 1, head, running.sum);
  }
  clusterBarrier();
  if (rank < int(a.heads)) {
    // Sixteen threads find an element each, for one block each.
    for (int column = thread / cluster; column < size; column += threads / cluster) {
      const Joined joined = joinParts(parts, cluster, size, column);
      storeToRank(mixed + rank * size + column, thread % cluster, toFloat(fromFloat<T>(joined.result())));
    }
  }
  clusterBarrier();
}

template <class T>
__global__ void __launch_bounds__(threads, 1) decoderLayerKernel(const __grid_constant__ DecoderLayerArguments o) {
  ONEHEAD_SHARED(std::byte, shared);  // the stream, then the vectors
  const int thread = int(threadIdx.x), rank = rankOf(cluster);
  const int depth = int(o.products[0].depth), width = int(o.self.heads * o.self.headSize);
  auto* floats = reinterpret_cast<float*>(shared + streamBytes);
  const Vectors v = vectorsOf(o);
  float *x = floats + v.x, *normed = floats + v.normed, *made = floats + v.made, *mixed = floats + v.mixed,
        *inner = floats + v.inner, *parts = floats + v.parts;
  letNextKernelStart();
  constexpr int normed3[layerNorms] = {layerQueryKeyValue, layerQuery, layerUp};
#pragma unroll
  for (int i = 0; i < layerNorms; ++i)
    for (int k = thread * 4; k < depth; k += threads * 4) {
      copyAsync16(floats + v.norms + 2 * i * depth + k, o.products[normed3[i]].normWeight + k, 16);
      copyAsync16(floats + v.norms + (2 * i + 1) * depth + k, o.products[normed3[i]].normBias + k, 16);
    }
  commitCopies();
  Stream<T> stream(o, reinterpret_cast<uint4*>(shared), entryOf(o.self, 0), entryOf(o.cross, 0));
  for (int i = 0; i < stepsAhead; ++i) stream.fetch();
  const float* biases[layerProducts];
  float* next = floats + v.biases;
#pragma unroll
  for (int i = 0; i < layerProducts; ++i) {
    const FewRowsArguments& m = o.products[i];
    const int count = warps * columnsOfWarp(m);
    for (int place = thread; place < count; place += threads) {
      const int column = rank * count + place;
      next[place] = m.epilogue.bias && column < int(m.columns) ? m.epilogue.bias[column] : 0.0f;
    }
    biases[i] = next;
    next += count;
  }
  clusterBarrier();  // all blocks have begun: from here on they write to one another
  waitForPreviousKernel();
  for (int k = thread * 4; k < depth; k += threads * 4)
    *reinterpret_cast<float4*>(x + k) =
        *reinterpret_cast<const float4*>(static_cast<const float*>(o.products[0].x) + k);
  waitForCopies<stepsAhead>();
  __syncthreads();

  auto norm = [&](int which) {
    normVector<T>(normed, x, floats + v.norms + 2 * which * depth, depth, o.products[normed3[which]].epsilon);
  };
  auto multiply = [&](int which, const float* from, auto finish) {
    multiplyVector(stream, o.products[which], from, biases[which], finish);
  };
  auto rounded = [](float value) { return toFloat(fromFloat<T>(value)); };
  auto toMade = [&](int column, float value) { storeToAll(made + column, rounded(value)); };
  // Nobody reads another's elements of x while they change: all know it behind the meeting.
  auto addToX = [&](int column, float value) {
    const float sum = x[column] + value;
    __syncwarp();
    storeToAll(x + column, sum);
  };

  norm(0);
  multiply(layerQueryKeyValue, normed, toMade);
  clusterBarrier();
  const Entry& entry = stream.self;
  if (rank == cluster - 1 && entry.keys > 0 && entry.start < o.self.keys)  // the new row joins the cache
    for (int place = thread; place < 2 * width; place += threads) {
      const AttentionView& to = place < width ? o.self.k : o.self.v;
      static_cast<T*>(
          const_cast<void*>(to.data))[entry.keyRow * to.batchStride + entry.start * to.rowStride + place % width] =
          fromFloat<T>(made[width + place]);
    }
  attend(stream, o.self, entry, true, made, parts, mixed);
  multiply(layerOut, mixed, addToX);
  clusterBarrier();
  norm(1);
  multiply(layerQuery, normed, toMade);
  clusterBarrier();
  attend(stream, o.cross, stream.cross, false, made, parts, mixed);
  multiply(layerCrossOut, mixed, addToX);
  clusterBarrier();
  norm(2);
  multiply(layerUp, normed, [&](int column, float value) {
    storeToAll(inner + column, rounded(activate(value, o.products[layerUp].epilogue.activation)));
  });
  clusterBarrier();
  multiply(layerDown, inner, [&](int column, float value) {
    if (thread % 32 == 0) static_cast<float*>(o.products[layerDown].y)[column] = x[column] + value;
  });
}

size_t sharedBytesOf(const DecoderLayerArguments& o) {
  return size_t(streamBytes) + size_t(vectorsOf(o).end) * sizeof(float);
}

}  // namespace

bool decoderLayerFits(const DecoderLayerArguments& o, const Launcher& launcher) {
  const DType type = o.products[0].weightType;
  const int64_t element = int64_t(bytesOf(type)), width = o.self.heads * o.self.headSize;
  for (const FewRowsArguments& m : o.products) {
    const bool aligned = aligned16(m.x) && aligned16(m.weight) && aligned16(m.normWeight) && aligned16(m.normBias);
    if (m.rows != 1 || m.weightType != type || m.weightChanges || m.epilogue.columnScales || !aligned ||
        m.depth * element % 16 || m.depth % 4)
      return false;
  }
  for (const AttentionArguments* a : {&o.self, &o.cross})
    if (a->batch != 1 || a->queries != 1 || a->type != type || a->heads != a->keyValueHeads || a->heads > cluster ||
        a->headSize > mostHeadSize || a->headSize != o.self.headSize || a->heads != o.self.heads || !a->keysStay ||
        a->scores || a->source || a->keyScales)
      return false;
  bool shaped = true;
  for (int i : {layerQueryKeyValue, layerQuery, layerUp}) shaped &= o.products[i].normWeight && o.products[i].normBias;
  shaped &= o.products[layerQueryKeyValue].columns == 3 * width && o.products[layerQuery].columns == width;
  const size_t bytes = sharedBytesOf(o);
  return launcher.clusters && shaped && bytes <= launcher.sharedMemory &&
         withType(type, [&](auto element) {
           // Two, so that a layer's weights come while another computes.
           return clustersAtOnce(launcher, cluster, decoderLayerKernel<decltype(element)>, dim3(threads), bytes) >= 2
                      ? cudaSuccess
                      : cudaErrorInvalidValue;
         }) == cudaSuccess;
}

bool decoderLayerPays(const DecoderLayerArguments& o, const Launcher&) {
  constexpr int64_t mostBytes = 7'500'000;  // of weights, by the prediction above: base's
  int64_t elements = 0;
  for (const FewRowsArguments& m : o.products) elements += m.columns * m.depth;
  return elements * int64_t(bytesOf(o.products[0].weightType)) <= mostBytes;
}

cudaError_t decoderLayer(const DecoderLayerArguments& o, const Launcher& launcher) {
  return withType(o.products[0].weightType, [&](auto element) {
    return launchClusters(launcher, cluster, decoderLayerKernel<decltype(element)>, dim3(cluster), dim3(threads),
                          sharedBytesOf(o), o);
  });
}

}  // namespace onehead::cuda
