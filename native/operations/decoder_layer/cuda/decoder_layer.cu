// A whole layer of a small decoder for one token, in one cluster of blocks. Fuses norm, query/key/value, append,
// self-attention, out; norm, query, cross-attention, out; norm, feed-forward up and down.
//
// Shapes   x [1, depth] float32, weights [columns, depth of the product], keys and values as in attention/arguments.h
//          -> y [1, depth] float32
// Launch   one cluster of 16 blocks, 256 threads; shared memory: a 176 KB ring of the stream, and the layer's vectors
// Bytes    the layer's weights, keys and values, once
// Method   Every block keeps the layer's vectors (x, its norm, query, attention results, inner row) in its shared
//          memory. A warp computes its share of a product's columns and writes them to all blocks. A cluster barrier
//          separates two products, where separate kernels need a launch, a wait, and a round trip through the L2 cache.
//          In attention a warp has a head and a block every sixteenth group of keys; block number `head` combines the
//          head's partial results.
//          Each lane reads from memory as one stream of 16-byte chunks (layer_stream.h): all weights, keys and values
//          of the layer in the order of use. The ring is filled before the previous kernel has ended, so the next
//          layer's cluster, on other multiprocessors, has half of its bytes while this one computes.
//
// History
//   Measured on an H200 at commit 1dabc91 with separate kernels: tiny 153 us per step at batch 1 (lower bound 17). For
//   six kernels per layer (projected_attention.cu, cluster_product.cu) 17.4 us per layer are predicted, about 2.9 each
//   for few bytes, and 89 per step.
//   This kernel was never measured. Predicted for tiny: launch 0.5, x 0.8, three norms 0.6, products 2.6 (24 steps of
//   the stream, 180 scheduler cycles each), self-attention 0.3, cross-attention 1.4 (12 steps of 200 cycles), nine
//   cluster barriers of 0.3 with their stores, combining 0.3: 9.2 us per layer, 56 per step. For base about 12 per
//   layer instead of 17.4, and 96 per step instead of 128.
//   A cluster's bandwidth was never measured. Its blocks are in one of about eight groups of multiprocessors: an eighth
//   of the L2 bandwidth of all (5 to 6 TB/s) is 0.7 TB/s. At 0.75 TB/s the 6.4 MB of a tiny layer take 8.5 us, half of
//   them before the layer begins; base's 10.4 MB take 14, a third of them before. A small layer (21 MB) would take 28,
//   so it remains six kernels.
//   Registers for 90a: 104, no spills, 72 bytes of local memory for addresses.
#include "layer_stream.h"

namespace onehead::cuda {

namespace {

/** Offsets of the layer's vectors in shared memory, in floats after the ring. Norms and biases are loaded before the
 * wait for the previous kernel; the blocks write everything else to each other. */
struct Vectors {
  int norms, biases, x, normed, projected, attended, inner, parts, end;
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
  for (int i = 0; i < layerProducts; ++i) biases += warps * columnsPerWarp(o.products[i]);
  take(v.biases, biases);
  take(v.x, depth);
  take(v.normed, depth);
  take(v.projected, 3 * width);
  take(v.attended, width);
  take(v.inner, inner);
  take(v.parts, cluster * int(partialSize(o.self.headSize)));
  v.end = at;
  return v;
}

/** Writes an element of a vector to every block of the cluster. Called by whole warps. */
__device__ inline void storeToAll(float* local, float value) {
  const int lane = int(threadIdx.x) % 32;
  if (lane < cluster) storeToRank(local, lane, value);
}

/** The norm of x, rounded to T. Every warp computes mean and squares for itself. */
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

/** Multiplies this warp's columns of a weight by the vector x. `finish(column, value)` is called by whole warps. */
template <class T, class Finish>
__device__ inline void multiplyVector(Stream<T>& stream, const FewRowsArguments& m, const float* x, const float* bias,
                                      Finish finish) {
  constexpr int vector = vectorSize<T>;
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  const int count = columnsPerWarp(m), first = firstColumn(m), chunks = int(m.depth) / vector;
  for (int c = 0; c < count; c += chunksPerStep) {
    float sums[chunksPerStep] = {};
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
        for (int u = 0; u < chunksPerStep; ++u) {
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
    for (int u = 0; u < chunksPerStep; ++u) sums[u] = warpSum(sums[u]);
#pragma unroll
    for (int u = 0; u < chunksPerStep; ++u)
      if (c + u < count && first + c + u < int(m.columns))
        finish(first + c + u, sums[u] * m.epilogue.scale + bias[warp * count + c + u]);
  }
}

/** Attention of all heads. `projected` holds the query, followed by the new key and value if `appends`. After two
 * cluster barriers the results are in `attended` in all blocks. */
template <class T>
__device__ inline void attend(Stream<T>& stream, const AttentionArguments& a, const Entry& entry, bool appends,
                              const float* projected, float* parts, float* attended) {
  constexpr int vector = vectorSize<T>, lanes = maxHeadSize / vector;
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32, rank = rankOf(cluster);
  const int size = int(a.headSize), width = int(a.heads) * size, part = int(partialSize(size));
  const int chunk = lane % lanes * vector, steps = keySteps<T>(entry);
  const bool holdsElements = chunk < size;  // false for padding lanes of heads narrower than maxHeadSize
  for (int head = warp; head - warp < int(a.heads); head += warps) {
    const bool active = head < int(a.heads);
    float query[vector] = {};
    if (holdsElements && active)
#pragma unroll
      for (int i = 0; i < vector; ++i) query[i] = projected[head * size + chunk + i] * (a.scale * log2E);
    Running<vector> running;
    for (int keyStep = 0; keyStep < steps; ++keyStep) {
      const uint4* step = stream.next();
      float scores[keysPerStep], newMaximum = running.maximum;
      auto keyOf = [&](int u) { return keyOfLane<T>(keyStep, u); };
      auto load = [&](float(&values)[vector], int u, int which) {
        if (appends && keyOf(u) == entry.start) {
#pragma unroll
          for (int i = 0; i < vector; ++i) values[i] = projected[(1 + which) * width + head * size + chunk + i];
        } else {
          unpack<T>(step[(u * 2 + which) * threads], values);
        }
      };
#pragma unroll
      for (int u = 0; u < keysPerStep; ++u) {
        float score = 0, values[vector];
        const bool visible = active && keyOf(u) < entry.keys;
        if (holdsElements && visible) {
          load(values, u, 0);
#pragma unroll
          for (int i = 0; i < vector; ++i) score = fmaf(query[i], values[i], score);
        }
        score = warpSum<lanes>(score);
        scores[u] = visible ? score : -infinity;
        newMaximum = fmaxf(newMaximum, scores[u]);
      }
      if (newMaximum > -infinity) {
        running.rescale(newMaximum);
#pragma unroll
        for (int u = 0; u < keysPerStep; ++u) {
          if (!holdsElements || scores[u] == -infinity) continue;
          float values[vector];
          load(values, u, 1);
          running.add(exp2Fast(scores[u] - newMaximum), values);
        }
      }
      stream.fetch();
    }
    if (!active) continue;
    combineGroups<lanes>(running);
    float* local = parts + rank * part;
    if (lane < lanes && holdsElements)
#pragma unroll
      for (int i = 0; i < vector; ++i) storeToRank(local + chunk + i, head, running.values[i]);
    if (lane > 0) continue;
    storeToRank(local + size, head, running.maximum);
    storeToRank(local + size + 1, head, running.sum);
  }
  clusterBarrier();
  if (rank < int(a.heads)) {
    // Sixteen threads compute the same column, one for each block to which it is written.
    for (int column = thread / cluster; column < size; column += threads / cluster) {
      const Joined joined = joinParts(parts, cluster, size, column);
      storeToRank(attended + rank * size + column, thread % cluster, toFloat(fromFloat<T>(joined.result())));
    }
  }
  clusterBarrier();
}

template <class T>
__global__ void __launch_bounds__(threads, 1) decoderLayerKernel(const __grid_constant__ DecoderLayerArguments o) {
  ONEHEAD_SHARED(std::byte, shared);  // the ring, then the vectors
  const int thread = int(threadIdx.x), rank = rankOf(cluster);
  const int depth = int(o.products[0].depth), width = int(o.self.heads * o.self.headSize);
  auto* floats = reinterpret_cast<float*>(shared + streamBytes);
  const Vectors v = vectorsOf(o);
  float *x = floats + v.x, *normed = floats + v.normed, *projected = floats + v.projected,
        *attended = floats + v.attended, *inner = floats + v.inner, *parts = floats + v.parts;
  letNextKernelStart();
  constexpr int normedProducts[layerNorms] = {layerQueryKeyValue, layerQuery, layerUp};
#pragma unroll
  for (int i = 0; i < layerNorms; ++i)
    for (int k = thread * 4; k < depth; k += threads * 4) {
      copyAsync16(floats + v.norms + 2 * i * depth + k, o.products[normedProducts[i]].normWeight + k, 16);
      copyAsync16(floats + v.norms + (2 * i + 1) * depth + k, o.products[normedProducts[i]].normBias + k, 16);
    }
  commitCopies();
  Stream<T> stream(o, reinterpret_cast<uint4*>(shared), entryOf(o.self, 0), entryOf(o.cross, 0));
  for (int i = 0; i < stepsInFlight; ++i) stream.fetch();
  const float* biases[layerProducts];
  float* next = floats + v.biases;
#pragma unroll
  for (int i = 0; i < layerProducts; ++i) {
    const FewRowsArguments& m = o.products[i];
    const int count = warps * columnsPerWarp(m);
    for (int index = thread; index < count; index += threads) {
      const int column = rank * count + index;
      next[index] = m.epilogue.bias && column < int(m.columns) ? m.epilogue.bias[column] : 0.0f;
    }
    biases[i] = next;
    next += count;
  }
  clusterBarrier();  // all blocks have started: from here on they write to each other's shared memory
  waitForPreviousKernel();
  for (int k = thread * 4; k < depth; k += threads * 4)
    *reinterpret_cast<float4*>(x + k) =
        *reinterpret_cast<const float4*>(static_cast<const float*>(o.products[0].x) + k);
  waitForCopies<stepsInFlight>();
  __syncthreads();

  auto norm = [&](int which) {
    normVector<T>(normed, x, floats + v.norms + 2 * which * depth, depth, o.products[normedProducts[which]].epsilon);
  };
  auto multiply = [&](int which, const float* from, auto finish) {
    multiplyVector(stream, o.products[which], from, biases[which], finish);
  };
  auto rounded = [](float value) { return toFloat(fromFloat<T>(value)); };
  auto toProjected = [&](int column, float value) { storeToAll(projected + column, rounded(value)); };
  // No warp reads x elements that another warp changes before the next cluster barrier.
  auto addToX = [&](int column, float value) {
    const float sum = x[column] + value;
    __syncwarp();
    storeToAll(x + column, sum);
  };

  norm(0);
  multiply(layerQueryKeyValue, normed, toProjected);
  clusterBarrier();
  const Entry& entry = stream.self;
  if (rank == cluster - 1 && entry.keys > 0 && entry.start < o.self.keys)  // append the new row to the cache
    for (int index = thread; index < 2 * width; index += threads) {
      const AttentionView& to = index < width ? o.self.k : o.self.v;
      static_cast<T*>(
          const_cast<void*>(to.data))[entry.keyRow * to.batchStride + entry.start * to.rowStride + index % width] =
          fromFloat<T>(projected[width + index]);
    }
  attend(stream, o.self, entry, true, projected, parts, attended);
  multiply(layerOut, attended, addToX);
  clusterBarrier();
  norm(1);
  multiply(layerQuery, normed, toProjected);
  clusterBarrier();
  attend(stream, o.cross, stream.cross, false, projected, parts, attended);
  multiply(layerCrossOut, attended, addToX);
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
        a->headSize > maxHeadSize || a->headSize != o.self.headSize || a->heads != o.self.heads || !a->keysUnchanged ||
        a->scores || a->source || a->keyScales)
      return false;
  bool shaped = true;
  for (int i : {layerQueryKeyValue, layerQuery, layerUp}) shaped &= o.products[i].normWeight && o.products[i].normBias;
  shaped &= o.products[layerQueryKeyValue].columns == 3 * width && o.products[layerQuery].columns == width;
  const size_t bytes = sharedBytesOf(o);
  return launcher.clusters && shaped && bytes <= launcher.sharedMemory &&
         withType(type, [&](auto element) {
           // Two resident clusters, so that a layer's weights load while the previous one computes.
           return clustersAtOnce(launcher, cluster, decoderLayerKernel<decltype(element)>, dim3(threads), bytes) >= 2
                      ? cudaSuccess
                      : cudaErrorInvalidValue;
         }) == cudaSuccess;
}

bool decoderLayerPays(const DecoderLayerArguments& o, const Launcher&) {
  constexpr int64_t maxBytes = 7'500'000;  // of weights: up to base, see the prediction above
  int64_t elements = 0;
  for (const FewRowsArguments& m : o.products) elements += m.columns * m.depth;
  return elements * int64_t(bytesOf(o.products[0].weightType)) <= maxBytes;
}

cudaError_t decoderLayer(const DecoderLayerArguments& o, const Launcher& launcher) {
  return withType(o.products[0].weightType, [&](auto element) {
    return launchClusters(launcher, cluster, decoderLayerKernel<decltype(element)>, dim3(cluster), dim3(threads),
                          sharedBytesOf(o), o);
  });
}

}  // namespace onehead::cuda
