// Attention of a step with the products that it needs, in one kernel: norm, query (or query, key and value), append and
// attention, for 1 to 8 rows where blocks may stand in clusters.
//
// Shapes   x [rows, depth] float32, weight [(heads or heads + 2 key/value heads) x size, depth], keys and values as
//          attention.h says -> y [rows, heads x size]
// Bytes    the weight, once for each group of rows; keys and values, once for each of its heads
// Method   eight blocks, a cluster, have a head of up to eight rows. Each makes an eighth of the head's query (and of
//          its new key and value) over the whole depth, so that every block knows the norm for itself; what it makes
//          it writes to all eight blocks' shared memory. Then each attends to every eighth group of keys, a row of the
//          batch has a warp or several, and the eight parts of a row meet in the shared memory of one block.
//          So a row crosses the device's memory twice (x, y) where kernels apart cross it four times or more, and what
//          no kernel before in the program writes (the whole weight, and keys and values as far as the ring holds
//          them) is on its way into shared memory before the kernel before has ended. A lane copies what it reads
//          itself: no barrier stands in the loop over keys.
//          Two meetings of the cluster are behind the wait: when the query is made, and when the parts are.
// In flight a block has an eighth of a head's weights (20 KB of 1,280 x 64 halves, 61 with key and value) and a ring of
//          24 or 48 KB of keys and values; two blocks fit a multiprocessor.
//
// History
//   H200, commit 1dabc91, as kernels of their own, turbo's shapes, float16, microseconds at batch 1 / 8: norm and query
//   key value 8.96 / 14.4, self-attention at 65 positions 5.7 / 6.7; norm and cross query 8.5 / 13.6, cross-attention
//   9.3 / 27.2. A cluster of 8 blocks a head that attended alone, with keys fetched before the wait, took 4.2 there.
//   As cluster_product.cu and attention_decode.cu predict them in a chain, not measured: 3 + 4, and 3 + 6 at batch 1;
//   3.2 + 5.5, and 3 + 22 at 8 (attention inferred from what was measured there).
//   Prediction of this kernel, not measured: launch 0.5, x 0.8, the norm 0.3, products 0.4, meeting 0.7, scores and
//   values of what is there already 0.5 (65 keys: 0.2), meeting and store 0.9: 3.8 for self-attention at batch 1, 4.1
//   for cross-attention, whose 7.7 MB came meanwhile as far as the kernel before left the memory alone (2.3 us else).
//   At batch 8 5, and 21: the time of its bytes, and what is before them.
//   Registers on 90a: 124 to 128, of the 128 that two blocks leave; no spills.
#include "projected_product.h"

namespace onehead::cuda {

namespace {

/** Keys and values that a block has on their way, in groups of `ahead` steps. */
constexpr int buffersFor(bool appends) { return appends ? 1 : 2; }

template <class T, int P, bool Appends>
__global__ void __launch_bounds__(threads, 2)
    projectedKernel(const __grid_constant__ ProjectedAttentionArguments o, const __grid_constant__ Layout l) {
  constexpr int vector = vectorSize<T>, lanes = P / vector, rowsAtOnce = 32 / lanes, buffers = buffersFor(Appends);
  ONEHEAD_SHARED(std::byte, shared);  // weights, ring, x and what comes behind it, what was made, biases
  const FewRowsArguments& m = o.projection;
  const AttentionArguments& a = o.attention;
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32, rank = rankOf(cluster);
  const int size = int(a.headSize), partColumns = size / cluster, part = int(partialSize(size));
  const int head = int(blockIdx.y), heads = int(a.heads), together = heads / int(a.keyValueHeads);
  const int shareHead = head / together;
  const int64_t row0 = int64_t(blockIdx.z) * l.rows;
  const int rows = int(smaller<int64_t>(l.rows, a.batch - row0));
  std::byte* ring = shared + l.ringAt;
  std::byte* x = shared + l.xAt;
  auto* made = reinterpret_cast<float*>(shared + l.madeAt);  // [parts][rows][size]
  auto* bias = reinterpret_cast<float*>(shared + l.biasAt);
  auto* shares = reinterpret_cast<Share*>(bias + mostTiles * 16);
  // Behind the products the place of x holds their sums, then what warps and blocks found.
  auto* sums = reinterpret_cast<float*>(x);
  float *ofWarps = sums, *ofBlocks = sums + warps * part;

  letNextKernelStart();
  if (m.weightChanges) waitForPreviousKernel();
  // This block's rows of the weight: a share of the query's, the key's and the value's.
  auto weightRow = [&](int column) {
    const int which = column / partColumns,
              of = which == 0 ? head : heads + (which - 1) * int(a.keyValueHeads) + shareHead;
    return int64_t(of) * size + rank * partColumns + column % partColumns;
  };
  const int chunks = int(m.depth) * int(sizeof(T)) / 16;
  for (int column = warp; column < l.columns; column += warps) {
    const auto* from = static_cast<const std::byte*>(m.weight) + weightRow(column) * chunks * 16;
    for (int i = lane; i < chunks; i += 32) copyAsync16(shared + column * l.weightStride + i * 16, from + i * 16, 16);
  }
  commitCopies();
  if (thread < l.columns) bias[thread] = m.epilogue.bias ? m.epilogue.bias[weightRow(thread)] : 0.0f;
  const int row = warp / l.warpsOfRow, ofRow = warp % l.warpsOfRow, fours = int(m.depth) / 4;
  float4 norm[fewFours][2];
  const bool few = divideUp(fours, l.warpsOfRow * 32) <= fewFours;
  if (few)
#pragma unroll
    for (int i = 0; i < fewFours; ++i) {
      const int at = (i * l.warpsOfRow + ofRow) * 32 + lane;
      if (at >= fours) continue;
      norm[i][0] = reinterpret_cast<const float4*>(m.normWeight)[at];
      norm[i][1] = reinterpret_cast<const float4*>(m.normBias)[at];
    }

  // A warp has every so many groups of a row's keys, and each of its lanes a part of one key a step.
  const int64_t b = row0 + row;
  const int chunk = lane % lanes * vector, step = cluster * l.warpsOfRow * rowsAtOnce;
  const int firstKey = (rank * l.warpsOfRow + ofRow) * rowsAtOnce + lane / lanes;
  const bool inside = chunk < size;  // lanes behind the head's elements have none
  Entry entry;
  auto slot = [&](int buffer, int u, int which) {
    return reinterpret_cast<uint4*>(ring) + ((buffer * ahead + u) * 2 + which) * threads + thread;
  };
  auto fetch = [&](int turn) {
#pragma unroll
    for (int u = 0; u < ahead; ++u) {
      const int key = firstKey + (turn * ahead + u) * step;
      if (!inside || key >= entry.keys || (Appends && key == entry.start)) continue;
      const int64_t at = shareHead * size + chunk;
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
  if (a.keysStay) fetchFirst();
  clusterBarrier();  // all blocks have begun: from here on they write to one another
  waitForPreviousKernel();
  if (!a.keysStay) fetchFirst();
  float* wantedScores = row < rows ? scoresOf(a, b, 0, head) : nullptr;

  if (few)
    normRows<T, fewFours>(m, l, row0, rows, x, shares, norm);
  else
    normRows<T, mostFours>(m, l, row0, rows, x, shares, norm);
  waitForCopies<buffers>();
  __syncthreads();
  float products[mostTiles][4] = {};
  multiplySlices<T>(products, l, rows, shared, x, int(m.depth));
  __syncthreads();  // nobody reads x any more
#pragma unroll
  for (int tile = 0; tile < mostTiles; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int column = tile * 16 + lane / 4 + i / 2 * 8, of = lane % 4 * 2 + i % 2;
      if (column < l.columns && of < rows) sums[(warp * l.columns + column) * l.rows + of] = products[tile][i];
    }
  __syncthreads();
  for (int place = thread; place < l.columns * rows * cluster; place += threads) {
    const int to = place % cluster, of = place / cluster % rows, column = place / cluster / rows;
    float value = 0;
#pragma unroll
    for (int i = 0; i < warps; ++i) value += sums[(i * l.columns + column) * l.rows + of];
    const int which = column / partColumns, at = rank * partColumns + column % partColumns;
    value = toFloat(fromFloat<T>(value * m.epilogue.scale + bias[column]));
    storeToRank(made + (which * l.rows + of) * size + at, to, value);
  }
  clusterBarrier();

  // The new row joins the cache: each block has its columns of it, and one head of those that share it writes them.
  auto madeOf = [&](int which) { return made + (which * l.rows + row) * size; };
  if (Appends && ofRow == 0 && lane < partColumns && head % together == 0 && entry.keys > 0 && entry.start < a.keys) {
    const int64_t at = shareHead * size + rank * partColumns + lane;
#pragma unroll
    for (int which = 0; which < 2; ++which) {
      const AttentionView& to = which ? a.v : a.k;
      static_cast<T*>(const_cast<void*>(to.data))[entry.keyRow * to.batchStride + entry.start * to.rowStride + at] =
          fromFloat<T>(madeOf(1 + which)[rank * partColumns + lane]);
    }
  }

  float query[vector] = {};
  if (inside && row < rows)
#pragma unroll
    for (int i = 0; i < vector; ++i) query[i] = madeOf(0)[chunk + i] * (a.scale * log2E);
  Running<vector> running;
  for (int turn = 0; firstKey - lane / lanes + turn * ahead * step < entry.keys; ++turn) {
    waitForCopies<buffers - 1>();
    float scores[ahead], above = running.highest;
    auto keyOf = [&](int u) { return firstKey + (turn * ahead + u) * step; };
    auto load = [&](float(&values)[vector], int u, int which) {
      if (Appends && keyOf(u) == entry.start) {
#pragma unroll
        for (int i = 0; i < vector; ++i) values[i] = madeOf(1 + which)[chunk + i];
      } else {
        unpack<T>(*slot(turn % buffers, u, which), values);
      }
    };
#pragma unroll
    for (int u = 0; u < ahead; ++u) {
      float score = 0, values[vector];
      if (inside && keyOf(u) < entry.keys) {
        load(values, u, 0);
#pragma unroll
        for (int i = 0; i < vector; ++i) score = fmaf(query[i], values[i], score);
      }
      score = warpSum<lanes>(score);
      scores[u] = keyOf(u) < entry.keys ? score : -infinity;
      above = fmaxf(above, scores[u]);
      if (wantedScores && lane % lanes == 0 && keyOf(u) < smaller(entry.keys, int(a.scoreKeys)))
        wantedScores[keyOf(u)] = score * naturalLog2;
    }
    if (above > -infinity) {
      running.rescale(above);
#pragma unroll
      for (int u = 0; u < ahead; ++u) {
        if (!inside || keyOf(u) >= entry.keys) continue;
        float values[vector];
        load(values, u, 1);
        running.add(exp2Fast(scores[u] - above), values);
      }
    }
    fetch(turn + buffers);  // into what has been read
  }

  // Warps of a row, then blocks: the parts of a row meet in the block of its number.
  combineGroups<lanes>(running);
  storePart<lanes>(ofWarps + warp * part, running, lane, chunk, size);
  __syncthreads();
  for (int place = thread; place < rows * size; place += threads) {
    const int of = place / size, column = place % size;
    const Joined joined = joinParts(ofWarps + of * l.warpsOfRow * part, l.warpsOfRow, size, column);
    storeToRank(ofBlocks + rank * part + column, of, joined.value);
    if (column > 0) continue;
    storeToRank(ofBlocks + rank * part + size, of, joined.highest);
    storeToRank(ofBlocks + rank * part + size + 1, of, joined.sum);
  }
  clusterBarrier();
  if (rank >= rows || thread >= size) return;
  const Joined joined = joinParts(ofBlocks, cluster, size, thread);
  static_cast<T*>(const_cast<void*>(a.y.data))[(row0 + rank) * a.y.batchStride + int64_t(head) * size + thread] =
      fromFloat<T>(joined.result());
}

/** The layout of a case. */
Layout layOut(const ProjectedAttentionArguments& o, const Launcher& launcher) {
  const FewRowsArguments& m = o.projection;
  const AttentionArguments& a = o.attention;
  const int size = int(a.headSize), element = int(bytesOf(m.weightType));
  Layout l;
  // More clusters a head where they find room beside each other: a row of the batch then has more warps.
  const int64_t clusters = larger<int64_t>(1, launcher.multiprocessors * 2 / (cluster * a.heads));
  l.groups = int(smaller<int64_t>(a.batch, larger<int64_t>(clusters, divideUp<int64_t>(a.batch, cluster))));
  l.rows = int(divideUp<int64_t>(a.batch, l.groups));
  l.groups = int(divideUp<int64_t>(a.batch, l.rows));
  while (l.warpsOfRow * l.rows > warps) l.warpsOfRow /= 2;
  l.parts = o.appends ? 3 : 1;
  l.columns = l.parts * size / cluster;
  l.weightStride = l.xStride = int(m.depth) * element + 16;
  const int partBytes = int(partialSize(size)) * int(sizeof(float)), floatBytes = int(sizeof(float));
  const int behind = larger(warps * l.columns * l.rows * floatBytes, (warps + cluster) * partBytes);
  l.ringAt = l.columns * l.weightStride;
  l.xAt = l.ringAt + buffersFor(o.appends) * ahead * 2 * threads * 16;
  l.madeAt = l.xAt + divideUp(larger(l.rows * l.xStride, behind), 16) * 16;
  l.biasAt = l.madeAt + l.parts * l.rows * size * floatBytes;
  l.sharedBytes = size_t(l.biasAt + mostTiles * 16 * floatBytes) + warps * sizeof(Share);
  return l;
}

}  // namespace

bool projectedAttentionFits(const ProjectedAttentionArguments& o, const Launcher& launcher) {
  const FewRowsArguments& m = o.projection;
  const AttentionArguments& a = o.attention;
  const bool typed = m.xType == DType::float32 && m.weightType == a.type && m.normWeight;
  const bool aligned = aligned16(m.x) && aligned16(m.weight) && aligned16(m.normWeight) && aligned16(m.normBias);
  const bool shaped = a.queries == 1 && a.batch <= projectedAttentionRows && m.depth % sliceDepth == 0 &&
                      m.depth <= mostFours * 128 && a.headSize % 16 == 0 && a.headSize <= 128;
  const bool plain =
      m.epilogue.activation == Activation::none && !m.epilogue.residual && !m.epilogue.columnScales && !a.keyScales;
  return launcher.clusters && typed && aligned && shaped && plain &&
         layOut(o, launcher).sharedBytes <= launcher.sharedMemory;
}

bool projectedAttentionPays(const ProjectedAttentionArguments& o, const Launcher& launcher) {
  const AttentionArguments& a = o.attention;
  const Layout l = layOut(o, launcher);
  constexpr size_t reserved = 1024;  // that a block takes besides
  const int64_t atOnce = launcher.multiprocessors *
                         smaller<int64_t>(2, int64_t((launcher.sharedMemory + reserved) / (l.sharedBytes + reserved)));
  // Heads that share keys read them once each: from the second-level cache, at some 5 TB/s.
  const bool shares = a.keyValueHeads < a.heads && !o.appends && a.batch > 2;
  return a.heads * l.groups * cluster <= atOnce && !shares;
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
