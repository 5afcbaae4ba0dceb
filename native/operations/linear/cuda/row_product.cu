// Products of 1 to 8 rows (decode steps of few sequences) on GPUs with clusters, with the norm, bias, activation and
// residual fused; without a norm also of up to 32 rows, if all blocks are resident at once. A step is a chain of such
// kernels, so what counts is the time from the end of the previous kernel to the stores: the weights are in shared
// memory by then.
//
// Shapes   x [rows, depth], weight [columns, depth] -> y [rows, columns]
// Launch   grid (tiles of 16 columns x split) in clusters of `split` = 1 to 8 blocks, 128 threads; shared memory: 40 KB
//          for the weights of a block, and its range of x (80 KB for 32 rows of 1,280)
// Bytes    columns x depth of weights; x once per block, from the L2 cache
// Method   The four warps of a block share the depth of 16 columns; a deep product is split over a cluster too. Each
//          warp copies its weights to shared memory with cp.async before the previous kernel has ended. Then x is read,
//          normalized by each block for itself, and multiplied on tensor cores: the weight's rows are the rows of the
//          MMA, the rows of x its columns. The warps' sums are added through shared memory, those of a cluster through
//          distributed shared memory.
// Norm     One row is spread over all threads, several over the warps; mean first, then the variance about it, in
//          registers.
//
// History
//   cluster_product.cu, which did this before, took at commit 08120539 on an H200 (large-v3's shapes, float16, chains
//   of launches, batch 1 / 8): norm and query/key/value 7.4 / 8.5 us, out 3.1 / 3.6, norm and cross query 6.5 / 7.3,
//   norm and up 8.3 / 9.7, down 5.5 / 6.2. In a separate program a chain of kernels that only load x, wait for such
//   weights and store took 1.3 us (3.3 MB of weights), 2.6 (9.8) and 3.4 (13.1), and a reduction through a cluster 1.0.
//   Stamps of the clock showed where the time went after the wait: a norm by one warp 4,500 clocks, 20 dependent
//   products 1,300, a reduction with branches 750.
//   Measured at commit 8c906c2e: 3.8 / 6.2, 2.4 / 3.6, 2.6 / 4.4, 5.1 / 7.1, 4.8 / 6.8; with int8 weights 3.7 / 5.6,
//   2.3 / 3.5, (not measured), 4.2 / 6.1, 4.2 / 6.8.
//   Then, not measured: a warp normalizes its two rows of 5 to 8 at once, so that their latencies overlap (predicted:
//   0.4 us less for each product with a norm at batch 8). And up to 32 rows where no split of the depth is needed: the
//   sums of a cluster, 3,000 clocks of cluster_product.cu, become sums of four warps in shared memory, but each block
//   reads all of x. Predicted for 1,280 columns at batch 32: out 6.0 -> 3.5 us, cross query without its norm 5.4 -> 3.
//   Then, not measured: a column's scale is multiplied last (see cluster_product.cu).
//   Registers for 90a and half types: 60 to 122; no spills.
#include "row_norm.h"

namespace onehead::cuda {

namespace {

/** Stages of a warp's weights in shared memory: 1,280 half-precision depths shared by four warps. */
constexpr int rowStages = 5;
/** The most rows, in tiles of 8. More than 8 rows have no norm and no split. */
constexpr int64_t maxRows = 32;

struct RowLayout {
  int split = 1, steps = 0, depth = 0;  // see Layout
  int xStride = 0;                      // bytes between rows of x; 0 for a single row
  int normAt = 0, xAt = 0;              // offsets in shared memory, in bytes
  size_t sharedBytes = 0;
};

/** Copies this block's range of x's rows, `chunks` vectors of which `valid` are within the depth. */
template <class T>
__device__ inline void copyRows(const FewRowsArguments& m, std::byte* x, int stride, int first, int valid, int chunks) {
  const int thread = int(threadIdx.x);
  const T* from = static_cast<const T*>(m.x) + first;
  if (m.rows == 1) {
    for (int k = thread; k < chunks; k += threads)
      copyAsync16(x + k * 16, k < valid ? from + k * vectorSize<T> : m.x, k < valid ? 16 : 0);
  } else {
    for (int row = thread / 32; row < int(m.rows); row += warps)
      for (int k = thread % 32; k < chunks; k += 32)
        copyAsync16(x + row * stride + k * 16, k < valid ? from + row * m.depth + k * vectorSize<T> : m.x,
                    k < valid ? 16 : 0);
  }
  commitCopies();
}

template <class T, class W, bool Split, int NTiles>
__global__ void __launch_bounds__(threads, NTiles == 1 ? 4 : 2)
    rowProductKernel(const __grid_constant__ FewRowsArguments m, const __grid_constant__ RowLayout l) {
  ONEHEAD_SHARED(std::byte, shared);  // rings, norm, x
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32, rows = int(m.rows);
  const int split = Split ? l.split : 1, rank = Split ? rankOf(split) : 0;
  // The block's steps of the depth, and this warp's.
  const int blockBegin = l.steps * rank / split, blockSteps = l.steps * (rank + 1) / split - blockBegin;
  const int begin = blockSteps * warp / warps, steps = blockSteps * (warp + 1) / warps - begin;
  const int64_t column0 = int64_t(blockIdx.x) / split * warpColumns;
  std::byte* ring = shared + warp * rowStages * stageBytes;
  float* norm = reinterpret_cast<float*>(shared + l.normAt);
  std::byte* x = shared + l.xAt;

  letNextKernelStart();
  if (m.weightChanges) waitForPreviousKernel();
  const bool hasNorm = !Split && m.normWeight;
  // A thread finishes one result. Its column's scale and bias are requested before the weights, which they would wait
  // for, and are not touched before the sums: arithmetic on them would wait for them here.
  const int ownRow = thread / warpColumns;
  const int64_t ownColumn = column0 + thread % warpColumns;
  const bool owns = rank == 0 && ownRow < rows && ownColumn < m.columns;
  const Epilogue& e = m.epilogue;
  float columnScale = 1, bias = 0, residual[NTiles] = {};
  if (owns && e.columnScales) columnScale = e.columnScales[ownColumn];
  if (owns && e.bias) bias = e.bias[ownColumn];
  if (hasNorm && rows > 1) fetchNorm(m, norm);
  commitCopies();
  for (int step = 0; step < steps; ++step)
    fetchWeights<W>(m, ring + step * stageBytes, column0, blockBegin + begin + step);
  commitCopies();
  prefetchShare(m.prefetch);

  if (hasNorm) clearEnds<T>(m, x, l.xStride, l.depth);
  if (hasNorm && rows > 1) {
    waitForCopies<1>();  // the norm's weights
    __syncthreads();
  }
  if (!hasNorm || rows > 1) waitForPreviousKernel();  // normRow waits itself, so the residual comes after it
  auto loadResiduals = [&] {
    if (!owns || !e.residual) return;
#pragma unroll
    for (int n = 0; n < NTiles; ++n)
      if (ownRow + n * 8 < rows) residual[n] = loadResidual(m, ownRow + n * 8, ownColumn);
  };
  if (!hasNorm) loadResiduals();
  if (hasNorm && rows == 1) {
    normRow<T>(m, x, norm);
  } else if (hasNorm) {
    normRows<T>(m, x, l.xStride, norm);
  } else {
    const int first = blockBegin * stepDepth<W>, count = min(blockSteps * stepDepth<W>, int(m.depth) - first);
    copyRows<T>(m, x, l.xStride, first, count / vectorSize<T>, l.depth / vectorSize<T>);
  }
  if (hasNorm) loadResiduals();
  waitForCopies<0>();
  __syncthreads();

  float sums[NTiles][4] = {};
#pragma unroll
  for (int step = 0; step < rowStages; ++step) {
    if (step >= steps) break;
    const std::byte* weights = ring + step * stageBytes;
    const T* left = reinterpret_cast<const T*>(x) + (begin + step) * stepDepth<W>;
    if constexpr (std::is_same_v<W, int8_t>)
      multiplyInt8Stage<T, NTiles>(sums, weights, left, l.xStride / int(sizeof(T)));
    else
      multiplyStage<T, NTiles>(sums, weights, left, l.xStride / int(sizeof(T)));
  }
  __syncwarp();  // all lanes have read the ring, which the warp's sums overwrite
  constexpr int sumsApart = rowStages * stageBytes / int(sizeof(float));
  float* sumsAt = reinterpret_cast<float*>(shared);
#pragma unroll
  for (int n = 0; n < NTiles; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      sumsAt[warp * sumsApart + (n * 8 + lane % 4 * 2 + i % 2) * sumStride + lane / 4 + i / 2 * 8] = sums[n][i];
  if (Split)
    clusterBarrier();
  else
    __syncthreads();
#pragma unroll
  for (int n = 0; n < NTiles; ++n) {
    const int row = ownRow + n * 8;
    if (!owns || row >= rows) break;
    const float* from = sumsAt + row * sumStride + thread % warpColumns;
    float value = 0;
    if constexpr (Split) {
      float parts[maxSplit][warps];
#pragma unroll
      for (int other = 0; other < maxSplit; ++other) {
        if (other >= split) break;
#pragma unroll
        for (int i = 0; i < warps; ++i) parts[other][i] = loadFromRank(from + i * sumsApart, other);
      }
#pragma unroll
      for (int other = 0; other < maxSplit; ++other) {
        if (other >= split) break;
        value += (parts[other][0] + parts[other][1]) + (parts[other][2] + parts[other][3]);
      }
    } else {
      value = (from[0] + from[sumsApart]) + (from[2 * sumsApart] + from[3 * sumsApart]);
    }
    value = activate(value * (e.scale * columnScale) + bias, e.activation) + residual[n];
    storeAs(m.y, m.yType, row * m.columns + ownColumn, value);
  }
  if (Split) clusterBarrier();  // no block exits while others read its sums
}

int nTilesFor(int64_t rows) { return rows <= 8 ? 1 : rows <= 16 ? 2 : 4; }

/** Computes the layout; returns false if the product is too large for this kernel. */
bool layOut(const FewRowsArguments& m, const Launcher& launcher, RowLayout& l) {
  const int element = int(bytesOf(m.weightType)), step = m.epilogue.columnScales ? rowBytes : rowBytes / element;
  const int64_t tiles = divideUp<int64_t>(m.columns, warpColumns);
  l.steps = int(divideUp<int64_t>(m.depth, step));
  // The smallest split with which a block's shared memory holds all of its weights.
  while (l.split < maxSplit && l.steps > l.split * warps * rowStages) l.split *= 2;
  if (l.steps > l.split * warps * rowStages || tiles * l.split > residentBlocks(launcher)) return false;
  l.depth = int(divideUp(l.steps, l.split)) * step;
  l.xStride = m.rows == 1 ? 0 : l.depth * element + 16;
  l.normAt = warps * rowStages * stageBytes;
  l.xAt = l.normAt + normFloats(m) * int(sizeof(float));
  l.sharedBytes = size_t(l.xAt) + size_t(m.rows == 1 ? l.depth * element : nTilesFor(m.rows) * 8 * l.xStride);
  if (l.sharedBytes > launcher.sharedMemory) return false;
  if (m.rows > maxNormRows) {
    // All blocks must be resident at once; registers leave two on a multiprocessor. The system takes 1 KB for each.
    const bool fitTwice = launcher.sharedMemory >= 2 * l.sharedBytes + 1024;
    return l.split == 1 && !m.normWeight && tiles <= launcher.multiprocessors * (fitTwice ? 2 : 1);
  }
  return !(m.normWeight && (l.split > 1 || m.depth > maxNormDepth));
}

}  // namespace

bool rowProductFits(const FewRowsArguments& m, const Launcher& launcher) {
  RowLayout layout;
  return m.rows <= min<int64_t>(launcher.maxRowProductRows, maxRows) && copiesFit(m, launcher) && m.depth % 4 == 0 &&
         layOut(m, launcher, layout);
}

cudaError_t rowProduct(const FewRowsArguments& m, const Launcher& launcher) {
  RowLayout layout;
  layOut(m, launcher, layout);
  const dim3 grid(unsigned(divideUp<int64_t>(m.columns, warpColumns) * layout.split));
  return withType(m.weightType, [&](auto element) {
    using T = decltype(element);
    auto start = [&](auto kernel) {
      return launchClusters(launcher, layout.split, kernel, grid, dim3(threads), layout.sharedBytes, m, layout);
    };
    auto stored = [&](auto weight) {
      using W = decltype(weight);
      if (m.rows > 16) return start(rowProductKernel<T, W, false, 4>);
      if (m.rows > 8) return start(rowProductKernel<T, W, false, 2>);
      return layout.split > 1 ? start(rowProductKernel<T, W, true, 1>) : start(rowProductKernel<T, W, false, 1>);
    };
    return m.epilogue.columnScales ? stored(int8_t{}) : stored(element);
  });
}

}  // namespace onehead::cuda
