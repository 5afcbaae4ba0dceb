// A decode step's attention fused with the product before it, for 1 to 8 rows on GPUs with clusters: norm, query (or
// query, key and value), append, attention.
//
// Shapes   x [rows, depth] float32, weight [(heads or heads + 2 key/value heads) x size, depth], keys and values as in
//          attention/arguments.h -> y [rows, heads x size]
// Launch   grid (8, heads, groups of rows) in clusters of 8 blocks, 256 threads; shared memory: see "In flight", plus x
//          and partial results; at most half of a multiprocessor's if it is to pay
// Bytes    the weight, once per group of rows; keys and values, once per head that reads them
// Method   A cluster of eight blocks has one head of up to eight rows. Each block computes an eighth of the head's
//          query (and of its new key and value) over the whole depth, so every block computes the whole norm. It writes
//          the result to all eight blocks' shared memory. Then each block attends to every eighth group of keys, with
//          one or more warps per row, and the eight partial results of a row are combined in one block.
//          So a row passes through global memory twice (x, y); with separate kernels four times or more. Everything
//          that no earlier kernel of the program writes (the whole weight, and as many keys and values as the ring
//          holds) is loaded into shared memory before the previous kernel has ended. A lane copies what it reads
//          itself, so the loop over keys has no barrier.
//          After the wait there are two cluster barriers: after the query, and after the partial results.
// In flight  per block an eighth of a head's weights (20 KB for 1,280 x 64 half-precision elements, 61 KB with key and
//          value) and a ring of 24 or 48 KB of keys and values. Two blocks fit on a multiprocessor.
//
// History
//   Measured on an H200 at commit 1dabc91 with separate kernels (turbo's shapes, float16, microseconds at batch 1 / 8):
//   norm and query/key/value 8.96 / 14.4, self-attention at 65 positions 5.7 / 6.7; norm and cross query 8.5 / 13.6,
//   cross-attention 9.3 / 27.2. In a separate test program, a cluster of 8 blocks per head that computed attention
//   alone, with keys loaded before the wait, took 4.2 for cross-attention at batch 1.
//   Predicted for today's separate kernels in a chain (cluster_product.cu, attention_decode.cu): 3 + 4 and 3 + 6 at
//   batch 1, 3.2 + 5.5 and 3 + 22 at 8 (attention inferred from the measurements).
//   This kernel was never measured. Predicted: launch 0.5, x 0.8, norm 0.3, products 0.4, barrier 0.7, scores and
//   values of the loaded keys 0.5 (65 keys: 0.2), barrier and store 0.9. So 3.8 for self-attention at batch 1, and 4.1
//   for cross-attention if its 7.7 MB load while the previous kernel leaves bandwidth (otherwise 2.3 more). At batch 8
//   5 and 21: the time of the bytes, plus what comes before them.
//   Registers for 90a: 124 to 128, of the 128 that two blocks per multiprocessor leave; no spills.
#include "projected_product.h"

namespace onehead::cuda {

namespace {

/** Buffers of the ring; each holds `stepsPerGroup` steps of keys and values. */
constexpr int buffersFor(bool appends) { return appends ? 1 : 2; }

template <class T, int P, bool Appends>
__global__ void __launch_bounds__(threads, 2)
    projectedKernel(const __grid_constant__ ProjectedAttentionArguments o, const __grid_constant__ Layout l) {
  constexpr int vector = vectorSize<T>, lanes = P / vector, rowsPerWarp = 32 / lanes, buffers = buffersFor(Appends);
  ONEHEAD_SHARED(std::byte, shared);  // weights, ring, x (later sums and partial results), products, biases
  const FewRowsArguments& m = o.projection;
  const AttentionArguments& a = o.attention;
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32, rank = rankOf(cluster);
  const int size = int(a.headSize), partColumns = size / cluster, part = int(partialSize(size));
  const int head = int(blockIdx.y), heads = int(a.heads), headsPerGroup = heads / int(a.keyValueHeads);
  const int keyValueHead = head / headsPerGroup;
  const int64_t row0 = int64_t(blockIdx.z) * l.rows;
  const int rows = int(min<int64_t>(l.rows, a.batch - row0));
  std::byte* ring = shared + l.ringAt;
  std::byte* x = shared + l.xAt;
  auto* projected = reinterpret_cast<float*>(shared + l.projectedAt);  // [parts][rows][size]
  auto* bias = reinterpret_cast<float*>(shared + l.biasAt);
  auto* moments = reinterpret_cast<Moments*>(bias + maxTiles * 16);
  // After the products, x's memory holds their sums, then the partial results of warps and blocks.
  auto* sums = reinterpret_cast<float*>(x);
  float *warpParts = sums, *blockParts = sums + warps * part;

  letNextKernelStart();
  if (m.weightChanges) waitForPreviousKernel();
  // This block's rows of the weight: an eighth of the head's query, key and value.
  auto weightRow = [&](int column) {
    const int which = column / partColumns,
              weightHead = which == 0 ? head : heads + (which - 1) * int(a.keyValueHeads) + keyValueHead;
    return int64_t(weightHead) * size + rank * partColumns + column % partColumns;
  };
  const int chunks = int(m.depth) * int(sizeof(T)) / 16;
  for (int column = warp; column < l.columns; column += warps) {
    const auto* from = static_cast<const std::byte*>(m.weight) + weightRow(column) * chunks * 16;
    for (int i = lane; i < chunks; i += 32) copyAsync16(shared + column * l.weightStride + i * 16, from + i * 16, 16);
  }
  commitCopies();
  if (thread < l.columns) bias[thread] = m.epilogue.bias ? m.epilogue.bias[weightRow(thread)] : 0.0f;
  const int row = warp / l.warpsPerRow, warpOfRow = warp % l.warpsPerRow, float4Count = int(m.depth) / 4;
  float4 norm[preloadedFloat4][2];
  const bool preloadsNorm = divideUp(float4Count, l.warpsPerRow * 32) <= preloadedFloat4;
  if (preloadsNorm)
#pragma unroll
    for (int i = 0; i < preloadedFloat4; ++i) {
      const int at = (i * l.warpsPerRow + warpOfRow) * 32 + lane;
      if (at >= float4Count) continue;
      norm[i][0] = reinterpret_cast<const float4*>(m.normWeight)[at];
      norm[i][1] = reinterpret_cast<const float4*>(m.normBias)[at];
    }

  // A warp has every (8 x warpsOfRow)-th group of a row's keys; each lane has a part of one key per step.
  const int64_t b = row0 + row;
  const int chunk = lane % lanes * vector, step = cluster * l.warpsPerRow * rowsPerWarp;
  const int firstKey = (rank * l.warpsPerRow + warpOfRow) * rowsPerWarp + lane / lanes;
  const bool holdsElements = chunk < size;  // false for the padding lanes of a head that is narrower than P
  Entry entry;
  auto slot = [&](int buffer, int u, int which) {
    return reinterpret_cast<uint4*>(ring) + ((buffer * stepsPerGroup + u) * 2 + which) * threads + thread;
  };
  auto fetch = [&](int turn) {
#pragma unroll
    for (int u = 0; u < stepsPerGroup; ++u) {
      const int key = firstKey + (turn * stepsPerGroup + u) * step;
      if (!holdsElements || key >= entry.keys || (Appends && key == entry.start)) continue;
      const int64_t at = keyValueHead * size + chunk;
      copyAsync16(slot(turn % buffers, u, 0), keyRow<T>(a, a.k, a.newKey, b, key, entry) + at, 16);
      copyAsync16(slot(turn % buffers, u, 1), keyRow<T>(a, a.v, a.newValue, b, key, entry) + at, 16);
    }
    commitCopies();
  };
  auto fetchFirst = [&] {
    if (row < rows) entry = entryOf(a, b);
#pragma unroll
    for (int turn = 0; turn < buffers; ++turn) fetch(turn);
  };
  if (a.keysUnchanged) fetchFirst();
  clusterBarrier();  // all blocks have started: from here on they write to each other's shared memory
  waitForPreviousKernel();
  if (!a.keysUnchanged) fetchFirst();
  float* scoreOutput = row < rows ? scoresOf(a, b, 0, head) : nullptr;

  if (preloadsNorm)
    normRows<T, preloadedFloat4>(m, l, row0, rows, x, moments, norm);
  else
    normRows<T, maxFloat4>(m, l, row0, rows, x, moments, norm);
  waitForCopies<buffers>();
  __syncthreads();
  float products[maxTiles][4] = {};
  multiplySlices<T>(products, l, rows, shared, x, int(m.depth));
  __syncthreads();  // all warps have read x, so its memory can be reused
#pragma unroll
  for (int tile = 0; tile < maxTiles; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int column = tile * 16 + lane / 4 + i / 2 * 8, r = lane % 4 * 2 + i % 2;
      if (column < l.columns && r < rows) sums[(warp * l.columns + column) * l.rows + r] = products[tile][i];
    }
  __syncthreads();
  for (int index = thread; index < l.columns * rows * cluster; index += threads) {
    const int to = index % cluster, r = index / cluster % rows, column = index / cluster / rows;
    float value = 0;
#pragma unroll
    for (int i = 0; i < warps; ++i) value += sums[(i * l.columns + column) * l.rows + r];
    const int which = column / partColumns, at = rank * partColumns + column % partColumns;
    value = toFloat(fromFloat<T>(value * m.epilogue.scale + bias[column]));
    storeToRank(projected + (which * l.rows + r) * size + at, to, value);
  }
  clusterBarrier();

  // Append: each block writes its columns of the new row. Of heads that share it, one writes.
  auto projectedRow = [&](int which) { return projected + (which * l.rows + row) * size; };
  if (Appends && warpOfRow == 0 && lane < partColumns && head % headsPerGroup == 0 && entry.keys > 0 &&
      entry.start < a.keys) {
    const int64_t at = keyValueHead * size + rank * partColumns + lane;
#pragma unroll
    for (int which = 0; which < 2; ++which) {
      const AttentionView& to = which ? a.v : a.k;
      static_cast<T*>(const_cast<void*>(to.data))[entry.keyRow * to.batchStride + entry.start * to.rowStride + at] =
          fromFloat<T>(projectedRow(1 + which)[rank * partColumns + lane]);
    }
  }

  float query[vector] = {};
  if (holdsElements && row < rows)
#pragma unroll
    for (int i = 0; i < vector; ++i) query[i] = projectedRow(0)[chunk + i] * (a.scale * log2E);
  Running<vector> running;
  for (int turn = 0; firstKey - lane / lanes + turn * stepsPerGroup * step < entry.keys; ++turn) {
    waitForCopies<buffers - 1>();
    float scores[stepsPerGroup], newMaximum = running.maximum;
    auto keyOf = [&](int u) { return firstKey + (turn * stepsPerGroup + u) * step; };
    auto load = [&](float(&values)[vector], int u, int which) {
      if (Appends && keyOf(u) == entry.start) {
#pragma unroll
        for (int i = 0; i < vector; ++i) values[i] = projectedRow(1 + which)[chunk + i];
      } else {
        unpack<T>(*slot(turn % buffers, u, which), values);
      }
    };
#pragma unroll
    for (int u = 0; u < stepsPerGroup; ++u) {
      float score = 0, values[vector];
      if (holdsElements && keyOf(u) < entry.keys) {
        load(values, u, 0);
#pragma unroll
        for (int i = 0; i < vector; ++i) score = fmaf(query[i], values[i], score);
      }
      score = warpSum<lanes>(score);
      scores[u] = keyOf(u) < entry.keys ? score : -infinity;
      newMaximum = fmaxf(newMaximum, scores[u]);
      if (scoreOutput && lane % lanes == 0 && keyOf(u) < min(entry.keys, int(a.scoreKeys)))
        scoreOutput[keyOf(u)] = score * ln2;
    }
    if (newMaximum > -infinity) {
      running.rescale(newMaximum);
#pragma unroll
      for (int u = 0; u < stepsPerGroup; ++u) {
        if (!holdsElements || keyOf(u) >= entry.keys) continue;
        float values[vector];
        load(values, u, 1);
        running.add(exp2Fast(scores[u] - newMaximum), values);
      }
    }
    fetch(turn + buffers);  // reuses the buffer that was just read
  }

  // Combine the warps of a row, then the blocks: row r is combined in block r.
  combineGroups<lanes>(running);
  storePart<lanes>(warpParts + warp * part, running, lane, chunk, size);
  __syncthreads();
  for (int index = thread; index < rows * size; index += threads) {
    const int r = index / size, column = index % size;
    const Joined joined = joinParts(warpParts + r * l.warpsPerRow * part, l.warpsPerRow, size, column);
    storeToRank(blockParts + rank * part + column, r, joined.value);
    if (column > 0) continue;
    storeToRank(blockParts + rank * part + size, r, joined.maximum);
    storeToRank(blockParts + rank * part + size + 1, r, joined.sum);
  }
  clusterBarrier();
  if (rank >= rows || thread >= size) return;
  const Joined joined = joinParts(blockParts, cluster, size, thread);
  static_cast<T*>(const_cast<void*>(a.y.data))[(row0 + rank) * a.y.batchStride + int64_t(head) * size + thread] =
      fromFloat<T>(joined.result());
}

Layout layOut(const ProjectedAttentionArguments& o, const Launcher& launcher) {
  const FewRowsArguments& m = o.projection;
  const AttentionArguments& a = o.attention;
  const int size = int(a.headSize), element = int(bytesOf(m.weightType));
  Layout l;
  // If more clusters than heads fit on the GPU, rows are divided over clusters: then each row has more warps.
  const int64_t clusters = max<int64_t>(1, launcher.multiprocessors * 2 / (cluster * a.heads));
  l.groups = int(min<int64_t>(a.batch, max<int64_t>(clusters, divideUp<int64_t>(a.batch, cluster))));
  l.rows = int(divideUp<int64_t>(a.batch, l.groups));
  l.groups = int(divideUp<int64_t>(a.batch, l.rows));
  while (l.warpsPerRow * l.rows > warps) l.warpsPerRow /= 2;
  l.parts = o.appends ? 3 : 1;
  l.columns = l.parts * size / cluster;
  l.weightStride = l.xStride = int(m.depth) * element + 16;
  const int partBytes = int(partialSize(size)) * int(sizeof(float)), floatBytes = int(sizeof(float));
  const int behind = max(warps * l.columns * l.rows * floatBytes, (warps + cluster) * partBytes);
  l.ringAt = l.columns * l.weightStride;
  l.xAt = l.ringAt + buffersFor(o.appends) * stepsPerGroup * 2 * threads * 16;
  l.projectedAt = l.xAt + divideUp(max(l.rows * l.xStride, behind), 16) * 16;
  l.biasAt = l.projectedAt + l.parts * l.rows * size * floatBytes;
  l.sharedBytes = size_t(l.biasAt + maxTiles * 16 * floatBytes) + warps * sizeof(Moments);
  return l;
}

}  // namespace

bool projectedAttentionFits(const ProjectedAttentionArguments& o, const Launcher& launcher) {
  const FewRowsArguments& m = o.projection;
  const AttentionArguments& a = o.attention;
  const bool typed = m.xType == DType::float32 && m.weightType == a.type && m.normWeight;
  const bool aligned = aligned16(m.x) && aligned16(m.weight) && aligned16(m.normWeight) && aligned16(m.normBias);
  const bool shaped = a.queries == 1 && a.batch <= projectedAttentionRows && m.depth % sliceDepth == 0 &&
                      m.depth <= maxFloat4 * 128 && a.headSize % 16 == 0 && a.headSize <= 128;
  const bool plain =
      m.epilogue.activation == Activation::none && !m.epilogue.residual && !m.epilogue.columnScales && !a.keyScales;
  return launcher.clusters && typed && aligned && shaped && plain &&
         layOut(o, launcher).sharedBytes <= launcher.sharedMemory;
}

bool projectedAttentionPays(const ProjectedAttentionArguments& o, const Launcher& launcher) {
  const AttentionArguments& a = o.attention;
  const Layout l = layOut(o, launcher);
  constexpr size_t reserved = 1024;  // shared memory that the system takes per block
  const int64_t residentBlocks =
      launcher.multiprocessors *
      min<int64_t>(2, int64_t((launcher.sharedMemory + reserved) / (l.sharedBytes + reserved)));
  // Heads that share keys would each read them, from the L2 cache at some 5 TB/s.
  const bool readsSharedKeys = a.keyValueHeads < a.heads && !o.appends && a.batch > 2;
  return a.heads * l.groups * cluster <= residentBlocks && !readsSharedKeys;
}

cudaError_t projectedAttention(const ProjectedAttentionArguments& o, const Launcher& launcher) {
  const Layout l = layOut(o, launcher);
  const dim3 grid(cluster, unsigned(o.attention.heads), unsigned(l.groups));
  return withType(o.attention.type, [&](auto element) {
    using T = decltype(element);
    auto start = [&](auto kernel) {
      return launchClusters(launcher, cluster, kernel, grid, dim3(threads), l.sharedBytes, o, l);
    };
    if (o.attention.headSize <= 64)
      return start(o.appends ? projectedKernel<T, 64, true> : projectedKernel<T, 64, false>);
    return start(o.appends ? projectedKernel<T, 128, true> : projectedKernel<T, 128, false>);
  });
}

}  // namespace onehead::cuda
