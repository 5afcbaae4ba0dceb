// Products of 9 to 64 rows (decode steps) on GPUs with clusters, and of fewer rows if there are many columns (logits),
// with bias, activation and residual fused, and for logits the norm. Reading the weight is the bound, so it is read
// once, and as early as possible.
//
// Shapes   x [rows, depth], weight [columns, depth] -> y [rows, columns]
// Launch   grid (tiles of 64 columns x split) in clusters of `split` = 1 to 8 blocks, 128 threads; shared memory: 32 to
//          80 KB of rings, and the block's range of x
// Bytes    columns x depth of weights; x once per cluster, from the L2 cache
// Method   A block computes 64 columns, a warp 16 of them, on tensor cores: the weight's rows are the rows of the MMA,
//          the rows of x its columns, 8 at a time. If there are few columns, the depth is split over a cluster of 2 to
//          8 blocks; each has its range of the weights and of x, and they add their sums through distributed shared
//          memory. Each warp has its own ring of stages in shared memory, filled with cp.async before the previous
//          kernel has ended (weights do not change), so the main loop has no block barrier. int8 weights are widened in
//          registers: a lane multiplies the 16 consecutive depths that it loads from a weight's row by the same 16 of
//          x, so nothing is shuffled; scales of columns are part of the epilogue. Many columns need no split: each
//          block loops over tiles and keeps x.
// Norm     With more than 8 rows layer_norm.cu runs before: 2.5 us, while each block's own norm took 8 to 20.
// In flight  4 warps x (stages - 1) x 2 KB of weights per block: 40 KB up to 16 rows, 32 KB for 32, 24 KB for 64. Two
//          to four blocks fit on a multiprocessor, so the next kernel's weights load while this one computes.
//
// History
//   Measured on an H200 at commit 1dabc91 with this kernel's predecessor for 5 rows on, skinny.cu, and layer_norm.cu
//   (turbo's shapes, float16, microseconds at batch 32): norm and query/key/value 17.1, out 6.0, norm and cross query
//   16.8, norm and up 19.7, down 13.7, norm and logits 75.8.
//   Measured at commit 08120539, with the norm of each block's range combined over the cluster: 16.2, 5.5, 13.3, 29.5
//   (two waves of blocks, since x was float32), 9.0, 69.3. Predicted had been 4.2, 3, 3.4, 5, 5.2 and 46.
//   Measured at commit 116e5cce, with layer_norm.cu before, and ten stages for logits: 9.9, 6.0, 7.9, 10.4, 9.1 and
//   56.1 (2.4 TB/s). Pushing sums to the block that finishes them, with stores to distributed shared memory, was slower
//   than loading them: 6.6 and 10.4 for out and down; so was loading the sums of four rows at once: 6.4 and 9.3. Stamps
//   of the clock show what is left at 32 rows, in clocks after the wait: x 2,400 to 4,500, products 1,500 to 5,700,
//   sums 3,000.
//   Measured at commit 8c906c2e: a step of large-v3 at batch 32 took 17.5 us longer in each layer with int8 weights,
//   although the six products alone took as long as in float16. What differs: a column's scale was multiplied as soon
//   as it was loaded, behind all weights in the memory's queue. So a block that starts late, as in a step, requested x
//   only when its weights had arrived. Then, not measured: scales are requested first and multiplied last, in
//   row_product.cu too, and the scales of a tile of logits before its products. Predicted: a step with int8 weights
//   takes no longer than float16's at batch 32 (3,628 us; measured before: 4,194), logits 53.2 -> 49.
//   Registers for 90a: 110, 164 and 244 for 16, 32 and 64 rows, up to 252 with int8 weights; half types have no spills.
#include "row_norm.h"

namespace onehead::cuda {

namespace {

/** The epilogue of one sum. `terms` are columnTerms. */
__device__ inline void finish(const FewRowsArguments& m, float value, int64_t row, int64_t column, const float2& terms,
                              float residual) {
  const float scale = m.epilogue.scale * terms.x;
  storeAs(m.y, m.yType, row * m.columns + column, activate(value * scale + terms.y, m.epilogue.activation) + residual);
}
/** A column's scale and bias, as they are in memory: arithmetic on them would wait for them here. */
__device__ inline float2 columnTerms(const FewRowsArguments& m, int64_t column) {
  const Epilogue& e = m.epilogue;
  const bool valid = column < m.columns;
  return make_float2(valid && e.columnScales ? e.columnScales[column] : 1.0f, valid && e.bias ? e.bias[column] : 0.0f);
}
template <int NTiles>
__device__ inline float residualAt(const FewRowsArguments& m, int64_t row, int64_t column) {
  constexpr bool compares = NTiles < 8;  // with 64 rows there are no registers for that
  return m.epilogue.residual && row < m.rows && column < m.columns ? loadResidual<compares>(m, row, column) : 0.0f;
}

/** Tiled: without a split of the depth; each block loops over tiles of columns and keeps x, up to 8 rows of which it
 * normalizes. */
template <class T, class W, int NTiles, bool Tiled>
__global__ void __launch_bounds__(threads, NTiles == 8 ? 2 : 3)
    clusterProductKernel(const __grid_constant__ FewRowsArguments m, const __grid_constant__ Layout l) {
  constexpr int stages = stagesFor(NTiles, Tiled), rowsOfTile = NTiles * 8, earlyRows = 4;
  constexpr int rowsAtOnce = threads / blockColumns;
  ONEHEAD_SHARED(std::byte, shared);  // rings, sums, norm, x
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32, rows = int(m.rows);
  const int split = Tiled ? 1 : l.split, rank = Tiled ? 0 : rankOf(split);
  const int begin = l.steps * rank / split, end = l.steps * (rank + 1) / split, steps = end - begin;
  // A cluster has one tile of columns.
  const int64_t tileStep = int64_t(gridDim.x) / split, tiles = divideUp<int64_t>(m.columns, blockColumns);
  const int64_t firstTile = int64_t(blockIdx.x) / split;
  const int warpColumn = warp * warpColumns;
  std::byte* ring = shared + warp * stages * stageBytes;
  // A warp's sums overwrite its own ring, which is drained by then. If the block loops, the next tile's weights are
  // already in flight, so the sums have memory of their own.
  constexpr int sumsApart = Tiled ? rowsOfTile * sumStride * int(sizeof(float)) : stages * stageBytes;
  auto sumsOf = [&](int ofWarp) { return reinterpret_cast<float*>(shared + l.sumsAt + ofWarp * sumsApart); };
  float* sumsOfWarp = sumsOf(warp);
  float* norm = reinterpret_cast<float*>(shared + l.normAt);
  std::byte* x = shared + l.xAt;

  int64_t nextTile = firstTile;
  int nextStep = 0, nextStage = 0;
  auto fetch = [&] {
    if (nextTile < tiles && nextStep < steps) {
      fetchWeights<W>(m, ring + nextStage * stageBytes, nextTile * blockColumns + warpColumn, begin + nextStep);
      if (++nextStep == steps && Tiled) {
        nextStep = 0;
        nextTile += tileStep;
      }
      nextStage = nextStage + 1 == stages ? 0 : nextStage + 1;
    }
    commitCopies();
  };
  letNextKernelStart();
  if (m.weightChanges) waitForPreviousKernel();
  const int first = begin * stepDepth<W>, count = min(end * stepDepth<W>, int(m.depth)) - first;
  const bool hasNorm = Tiled && NTiles == 1 && m.normWeight;
  // All results of a thread are in one column. Its terms are requested before the weights, which they would wait for.
  const int64_t ownColumn = firstTile * blockColumns + thread % blockColumns;
  const int ownRow = rank * rowsAtOnce + thread / blockColumns, rowStride = rowsAtOnce * split;
  float2 ownTerms = make_float2(0.0f, 0.0f);
  constexpr bool termsFirst = !Tiled && NTiles < 8;  // with 64 rows there are no registers for that
  if (termsFirst) ownTerms = columnTerms(m, ownColumn);
  if (hasNorm && rows > 1) fetchNorm(m, norm);
#pragma unroll
  for (int i = 0; i < stages - 1; ++i) fetch();
  prefetchShare(m.prefetch);
  if (!Tiled && !termsFirst) ownTerms = columnTerms(m, ownColumn);
  if (hasNorm) clearEnds<T>(m, x, l.xStride, l.depth);
  if (hasNorm && rows > 1) {
    waitForCopies<stages - 2>();  // the norm's weights, which were requested with the first stage
    __syncthreads();
  }
  if (!hasNorm || rows > 1) waitForPreviousKernel();

  float residual[earlyRows] = {};
  if (!Tiled)
#pragma unroll
    for (int i = 0; i < earlyRows; ++i) residual[i] = residualAt<NTiles>(m, ownRow + i * rowStride, ownColumn);
  if (hasNorm && rows == 1) {
    normRow<T>(m, x, norm);
  } else if (hasNorm) {
    normRows<T>(m, x, l.xStride, norm);
  } else {
    constexpr int elements = vectorSize<T>;
    const T* from = static_cast<const T*>(m.x) + first;
    for (int row = warp; row < rows; row += warps)
      for (int k = lane * elements; k < l.depth; k += 32 * elements)
        copyAsync16(x + row * l.xStride + k * int(sizeof(T)), k < count ? from + row * m.depth + k : m.x,
                    k < count ? 16 : 0);
    commitCopies();
    waitForCopies<0>();  // also waits for the weights that were requested before x, most of which arrived long ago
  }
  __syncthreads();

  int stage = 0;
  for (int64_t tile = firstTile; tile < tiles; tile += tileStep) {
    float sums[NTiles][4] = {};
    const int64_t tileColumn = tile * blockColumns + warpColumn + lane % warpColumns;
    if (Tiled) ownTerms = columnTerms(m, tileColumn);
    for (int step = 0; step < steps; ++step) {
      waitForCopies<stages - 2>();
      __syncwarp();  // other lanes' copies are visible, and all lanes have read the stage that is refilled next
      fetch();
      const std::byte* weights = ring + stage * stageBytes;
      const T* left = reinterpret_cast<const T*>(x) + step * stepDepth<W>;
      if constexpr (std::is_same_v<W, int8_t>)
        multiplyInt8Stage<T, NTiles>(sums, weights, left, l.xStride / int(sizeof(T)));
      else
        multiplyStage<T, NTiles>(sums, weights, left, l.xStride / int(sizeof(T)));
      stage = stage + 1 == stages ? 0 : stage + 1;
    }
    if (!Tiled) waitForCopies<0>();  // only empty groups are left: the sums may overwrite the rings
    __syncwarp();                    // and if the block loops, all lanes have read the previous tile's sums
#pragma unroll
    for (int n = 0; n < NTiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        sumsOfWarp[(n * 8 + lane % 4 * 2 + i % 2) * sumStride + lane / 4 + i / 2 * 8] = sums[n][i];
    if constexpr (Tiled) {
      __syncwarp();
      if (tileColumn >= m.columns) continue;
      for (int row = lane / warpColumns; row < rows; row += 2)
        finish(m, sumsOfWarp[row * sumStride + lane % warpColumns], row, tileColumn, ownTerms,
               residualAt<NTiles>(m, row, tileColumn));
    } else {
      clusterBarrier();
      const float* blockSums = sumsOf(thread % blockColumns / warpColumns) + thread % warpColumns;
#pragma unroll
      for (int i = 0; i < rowsOfTile / (2 * rowsAtOnce); ++i) {
        const int row = ownRow + i * rowStride;
        if (row >= rows) break;
        float parts[maxSplit], value = 0;
#pragma unroll
        for (int other = 0; other < maxSplit; ++other)
          parts[other] = other < split ? loadFromRank(blockSums + row * sumStride, other) : 0.0f;
#pragma unroll
        for (int other = 0; other < maxSplit; ++other) value += parts[other];
        if (ownColumn < m.columns)
          finish(m, value, row, ownColumn, ownTerms,
                 i < earlyRows ? residual[i] : residualAt<NTiles>(m, row, ownColumn));
      }
      clusterBarrier();  // no block exits while others read its sums
    }
  }
}

int nTilesFor(int64_t rows) { return rows <= 8 ? 1 : rows <= 16 ? 2 : rows <= 32 ? 4 : 8; }

/** Computes the layout; returns false if shared memory is too small for x. */
bool layOut(const FewRowsArguments& m, const Launcher& launcher, Layout& l) {
  const int element = int(bytesOf(m.weightType)), nTiles = nTilesFor(m.rows), rowsOfTile = nTiles * 8;
  const int step = m.epilogue.columnScales ? rowBytes : rowBytes / element;
  l.steps = int(divideUp<int64_t>(m.depth, step));
  const int64_t tiles = divideUp<int64_t>(m.columns, blockColumns);
  // The largest split with which all blocks are resident at once, so that all weights are in flight.
  l.split = maxSplit;
  while (l.split > 1 && (tiles * l.split > residentBlocks(launcher) || l.split > l.steps)) l.split /= 2;
  const bool tiled = l.split == 1;
  l.depth = int(divideUp(l.steps, l.split)) * step;
  l.xStride = l.depth * element + 16;
  const int ringBytes = warps * stagesFor(nTiles, tiled) * stageBytes;
  const int sumBytes = warps * rowsOfTile * sumStride * int(sizeof(float));
  l.sumsAt = tiled ? ringBytes : 0;
  l.normAt = ringBytes + (tiled ? sumBytes : 0);
  l.xAt = l.normAt + normFloats(m) * int(sizeof(float));
  l.sharedBytes = size_t(l.xAt) + size_t(rowsOfTile) * size_t(l.xStride);
  if (l.sharedBytes > launcher.sharedMemory) return false;
  if (m.normWeight && (!tiled || m.rows > maxNormRows || m.depth > maxNormDepth)) return false;
  // Without a split: as few blocks as need the same number of iterations.
  const int64_t looping = launcher.multiprocessors * (l.sharedBytes * 2 <= launcher.sharedMemory ? 2 : 1);
  l.blocks = tiled ? divideUp(tiles, divideUp(tiles, looping)) : tiles * l.split;
  return true;
}

template <class T, class W, int NTiles>
cudaError_t run(const FewRowsArguments& m, const Layout& l, const Launcher& launcher) {
  static_assert(stagesFor(NTiles, false) * stageBytes >= NTiles * 8 * sumStride * int(sizeof(float)));
  auto start = [&](auto kernel) {
    return launchClusters(launcher, l.split, kernel, dim3(unsigned(l.blocks)), dim3(threads), l.sharedBytes, m, l);
  };
  return l.split > 1 ? start(clusterProductKernel<T, W, NTiles, false>)
                     : start(clusterProductKernel<T, W, NTiles, true>);
}

}  // namespace

bool clusterProductFits(const FewRowsArguments& m, const Launcher& launcher) {
  Layout layout;
  return m.rows <= clusterProductRows && copiesFit(m, launcher) && layOut(m, launcher, layout);
}

cudaError_t clusterProduct(const FewRowsArguments& m, const Launcher& launcher) {
  Layout layout;
  layOut(m, launcher, layout);
  return withType(m.weightType, [&](auto element) {
    using T = decltype(element);
    auto start = [&](auto stored) {
      using W = decltype(stored);
      switch (nTilesFor(m.rows)) {
        case 1:
          return run<T, W, 1>(m, layout, launcher);
        case 2:
          return run<T, W, 2>(m, layout, launcher);
        case 4:
          return run<T, W, 4>(m, layout, launcher);
        default:
          return run<T, W, 8>(m, layout, launcher);
      }
    };
    return m.epilogue.columnScales ? start(int8_t{}) : start(element);
  });
}

}  // namespace onehead::cuda
