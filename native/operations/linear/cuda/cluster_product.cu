// Products of 1 to 64 rows (decode steps) where blocks may stand in clusters, with the norm before and everything
// behind fused: bound by reading the weight, so it is read once, and as early as can be.
//
// Shapes   x [rows, depth], weight [columns, depth] -> y [rows, columns]
// Bytes    columns x depth weights; x once a cluster of 64 columns, from the second-level cache
// Method   a block makes 64 columns, a warp 16 of them, on the matrix unit whose rows the weight's rows are (x's rows
//          are its columns, 8 at a time). Few columns are spread over the device by splitting the depth over a cluster
//          of 2 to 8 blocks: each has its share of the weights and of x, and they add up their sums through each
//          other's shared memory. Every warp has a ring of its own in shared memory: it fills it with cp.async before
//          the kernel before has ended (weights do not change), and no barrier stands in its loop. The norm is made
//          inside: each block knows mean and squares about that mean of its share of a row, and they are joined over
//          the cluster (Chan's formula, so that a large mean costs no precision). A weight of 8 bits is widened in
//          registers: a lane multiplies the 16 neighbouring depths that it loads of a weight's row by the same 16 of x,
//          so nothing is exchanged. A column's scale is the epilogue's. Many columns (logits) need no split: each block
//          goes on with further columns, and keeps x.
// In flight a block has 4 warps x (stages - 1) x 2 KB of weights on their way: 40 KB up to 16 rows, 32 with 32, 24 with
//          64; two to four blocks fit a multiprocessor, so that the next kernel's are there while this one computes.
//
// History
//   H200, commit 1dabc91, by matvec.cu and, from 5 rows on, layer_norm.cu and skinny.cu, whose blocks had no more on
//   their way than registers hold and read x from the second-level cache within the loop; turbo's shapes, float16,
//   microseconds at batch 1 / 8 / 32: norm and query key value 8.96 / 14.4 / 17.1, out 5.4 / 3.8 / 6.0, norm and cross
//   query 8.5 / 13.6 / 16.8, norm and up 8.8 / 16.8 / 19.7, down 15.3 / 10.3 / 13.7, norm and logits 40.8 / 53.5
//   / 75.8. Prediction, not measured: launch 0.5, x 0.8 (1 at 32 rows), the norm 0.5 with its meeting, what of the
//   weights is not there yet at 3.3 TB/s, products from shared memory 0.4, the sums' meeting and store 0.8. In a chain,
//   where the weights came while the kernel before ran: qkv 3 / 3.2 / 4.2, out 2.6 / 2.6 / 3, query 3 / 3 / 3.4, up 3.8
//   / 4 / 5, down 4.5 / 4.6 / 5.2; replayed alone each no faster than its bytes (2.5, 0.8, 0.8, 3.4, 3.4) and the
//   launch. Logits 38 / 40 / 46.
//   Weights of 8 bits, prediction, not measured: half the bytes, which come while the kernel before runs, so a chain
//   gains where they are most: at batch 1 up 3.8 -> 3.2, down 4.5 -> 3.4, query key value 3 -> 2.9; at batch 32 up 5 ->
//   4.3, down 5.2 -> 4.3, query key value 4.2 -> 3.7; logits 38 -> 20 and 46 -> 30. Registers on 90a: 98, 122, 168 and
//   255 for 8, 16, 32 and 64 rows; half types spill none.
#include "cluster_norm.h"

namespace onehead::cuda {

namespace {

/** What is done to a sum. */
__device__ inline void finish(const FewRowsArguments& m, float value, int64_t row, int64_t column, float scale,
                              float bias, float residual) {
  storeAs(m.y, m.yType, row * m.columns + column, activate(value * scale + bias, m.epilogue.activation) + residual);
}
/** A column's factor and bias. */
__device__ inline float2 columnTerms(const FewRowsArguments& m, int64_t column) {
  const Epilogue& e = m.epilogue;
  if (column >= m.columns) return make_float2(0.0f, 0.0f);
  return make_float2(e.columnScales ? e.scale * e.columnScales[column] : e.scale, e.bias ? e.bias[column] : 0.0f);
}
__device__ inline float residualAt(const FewRowsArguments& m, int64_t row, int64_t column) {
  const Epilogue& e = m.epilogue;
  return e.residual && row < m.rows && column < m.columns ? e.residual[row % e.residualRows * m.columns + column]
                                                          : 0.0f;
}

template <class T, class W, int NTiles>
__global__ void __launch_bounds__(threads, NTiles == 8 ? 2 : 3)
    clusterProductKernel(const __grid_constant__ FewRowsArguments m, const __grid_constant__ Layout l) {
  constexpr int stages = stagesFor(NTiles), rowsOfTile = NTiles * 8, early = 4;
  ONEHEAD_SHARED(std::byte, shared);  // rings, sums, norm, x
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32, rows = int(m.rows);
  const int rank = rankOf(l.split), begin = l.steps * rank / l.split, end = l.steps * (rank + 1) / l.split;
  const int steps = end - begin;
  const int64_t tileStep = int64_t(gridDim.x) / l.split, tiles = divideUp<int64_t>(m.columns, blockColumns);
  const int64_t firstTile = int64_t(blockIdx.x) / l.split;
  std::byte* ring = shared + warp * stages * stageBytes;
  // A warp's sums lie over its own ring, which is empty then; where further columns are on their way, behind the rings.
  const int sumsApart = l.split > 1 ? stages * stageBytes : rowsOfTile * sumStride * int(sizeof(float));
  auto sumsOf = [&](int of) { return reinterpret_cast<float*>(shared + l.sumsAt + of * sumsApart); };
  float* sumsOfWarp = sumsOf(warp);
  float* norm = reinterpret_cast<float*>(shared + l.normAt);
  std::byte* x = shared + l.xAt;

  int64_t nextTile = firstTile;
  int nextStep = 0, nextStage = 0;
  auto fetch = [&] {
    if (nextTile < tiles) {
      fetchWeights<W>(m, ring + nextStage * stageBytes, nextTile * blockColumns + warp * warpColumns, begin + nextStep);
      if (++nextStep == steps) {
        nextStep = 0;
        nextTile += tileStep;
      }
      nextStage = nextStage + 1 == stages ? 0 : nextStage + 1;
    }
    commitCopies();
  };
  letNextKernelStart();
  if (m.weightChanges) waitForPreviousKernel();
  const int first = begin * stepDepth<W>, count = smaller(end * stepDepth<W>, int(m.depth)) - first;
  if (m.normWeight)
    for (int k = thread * 4; k < count; k += threads * 4) {
      copyAsync16(norm + k, m.normWeight + first + k, 16);
      copyAsync16(norm + l.depth + k, m.normBias + first + k, 16);
    }
#pragma unroll
  for (int i = 0; i < stages - 1; ++i) fetch();
  // A thread's results are all of one column.
  const int64_t ownColumn = firstTile * blockColumns + thread % blockColumns;
  float2 ownTerms = make_float2(0.0f, 0.0f);
  if (l.split > 1) ownTerms = columnTerms(m, ownColumn);
  waitForPreviousKernel();

  const int elements = m.normWeight ? 4 : vectorSize<T>, element = m.normWeight ? 4 : int(sizeof(T));
  const int chunks = l.depth / elements;
  for (int place = thread; place < rows * chunks; place += threads) {
    const int row = place / chunks, k = place % chunks * elements;
    const auto* from = static_cast<const std::byte*>(m.x) + (int64_t(row) * m.depth + first + k) * element;
    const bool there = k < count;
    copyAsync16(x + row * l.xStride + k * element, there ? from : static_cast<const std::byte*>(m.x), there ? 16 : 0);
  }
  commitCopies();
  const int stride = threads / blockColumns * l.split, ownRow = rank * (threads / blockColumns) + thread / blockColumns;
  float residual[early] = {};
  if (l.split > 1)
#pragma unroll
    for (int i = 0; i < early; ++i) residual[i] = residualAt(m, ownRow + i * stride, ownColumn);
  waitForCopies<0>();  // all weights that were asked for before x are there too, mostly long since
  __syncthreads();
  if (m.normWeight) {
    normRows<T, W, NTiles>(m, l, x, norm, count);
    __syncthreads();
  }

  int stage = 0;
  for (int64_t tile = firstTile; tile < tiles; tile += tileStep) {
    float sums[NTiles][4] = {};
    for (int step = 0; step < steps; ++step) {
      waitForCopies<stages - 2>();
      __syncwarp();  // shows the copies of other lanes, and all have read the stage that is filled now
      fetch();
      const std::byte* weights = ring + stage * stageBytes;
      const T* left = reinterpret_cast<const T*>(x) + step * stepDepth<W>;
      if constexpr (std::is_same_v<W, int8_t>)
        multiplyBytes<T, NTiles>(sums, weights, left, l.xStride / int(sizeof(T)));
      else
        multiplyStage<T, NTiles>(sums, weights, left, l.xStride / int(sizeof(T)));
      stage = stage + 1 == stages ? 0 : stage + 1;
    }
    if (l.split > 1) waitForCopies<0>();  // none are left but groups of nothing: the sums lie over the rings
    __syncwarp();
#pragma unroll
    for (int n = 0; n < NTiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        sumsOfWarp[(n * 8 + lane % 4 * 2 + i % 2) * sumStride + lane / 4 + i / 2 * 8] = sums[n][i];
    if (l.split == 1) {
      __syncwarp();
      const int64_t column = tile * blockColumns + warp * warpColumns + lane % warpColumns;
      if (column < m.columns) {
        const float2 terms = columnTerms(m, column);
        for (int row = lane / warpColumns; row < rows; row += 2)
          finish(m, sumsOfWarp[row * sumStride + lane % warpColumns], row, column, terms.x, terms.y,
                 residualAt(m, row, column));
      }
      continue;  // the next sums are written behind a meeting of the warp
    }
    clusterBarrier();
    const float* own = sumsOf(thread % blockColumns / warpColumns) + thread % warpColumns;
#pragma unroll
    for (int i = 0; i < rowsOfTile / 4; ++i) {
      const int row = ownRow + i * stride;
      if (row >= rows) break;
      float parts[mostSplit], value = 0;
#pragma unroll
      for (int other = 0; other < mostSplit; ++other)
        parts[other] = other < l.split ? loadFromRank(own + row * sumStride, other) : 0.0f;
#pragma unroll
      for (int other = 0; other < mostSplit; ++other) value += parts[other];
      if (ownColumn < m.columns)
        finish(m, value, row, ownColumn, ownTerms.x, ownTerms.y,
               i < early ? residual[i] : residualAt(m, row, ownColumn));
    }
    clusterBarrier();  // no block ends while others read its sums
  }
}

int nTilesFor(int64_t rows) { return rows <= 8 ? 1 : rows <= 16 ? 2 : rows <= 32 ? 4 : 8; }

/** The layout of a case; false where its x has no room. */
bool layOut(const FewRowsArguments& m, const Launcher& launcher, Layout& l) {
  const int element = int(bytesOf(m.weightType)), nTiles = nTilesFor(m.rows);
  const int step = m.epilogue.columnScales ? rowBytes : rowBytes / element;
  const int ringBytes = warps * stagesFor(nTiles) * stageBytes;
  const int sumBytes = warps * nTiles * 8 * sumStride * int(sizeof(float));
  const int64_t tiles = divideUp<int64_t>(m.columns, blockColumns);
  l.steps = int(divideUp<int64_t>(m.depth, step));
  // As many blocks as let all of them run at once, with their shares of the weights on their way.
  l.split = mostSplit;
  while (l.split > 1 && (tiles * l.split > launcher.multiprocessors * 5 / 2 || l.split > l.steps)) l.split /= 2;
  l.depth = int(divideUp(l.steps, l.split)) * step;
  l.xStride = l.depth * (m.normWeight ? 4 : element) + 16;
  const int normBytes = m.normWeight ? (2 * l.depth + 4 * nTiles * 8) * int(sizeof(float)) : 0;
  l.sumsAt = l.split > 1 ? 0 : ringBytes;
  l.normAt = ringBytes + (l.split > 1 ? 0 : sumBytes);
  l.xAt = l.normAt + normBytes;
  l.sharedBytes = size_t(l.xAt) + size_t(nTiles * 8) * size_t(l.xStride);
  if (l.sharedBytes > launcher.sharedMemory) return false;
  // Without a split, as few blocks as take the same number of turns.
  const int64_t atOnce = launcher.multiprocessors * (l.sharedBytes * 2 <= launcher.sharedMemory ? 2 : 1);
  l.blocks = l.split > 1 ? tiles * l.split : divideUp(tiles, divideUp(tiles, atOnce));
  return true;
}

template <class T, class W, int NTiles>
cudaError_t run(const FewRowsArguments& m, const Layout& l, const Launcher& launcher) {
  static_assert(warps * stagesFor(NTiles) * stageBytes >= warps * NTiles * 8 * sumStride * int(sizeof(float)));
  return launchClusters(launcher, l.split, clusterProductKernel<T, W, NTiles>, dim3(unsigned(l.blocks)), dim3(threads),
                        l.sharedBytes, m, l);
}

}  // namespace

bool clusterProductFits(const FewRowsArguments& m, const Launcher& launcher) {
  Layout layout;
  const bool typed = m.xType == (m.normWeight ? DType::float32 : m.weightType);
  const bool aligned = aligned16(m.x) && aligned16(m.weight) && aligned16(m.normWeight) && aligned16(m.normBias);
  return launcher.clusters && typed && aligned && m.rows <= clusterProductRows &&
         m.depth * int64_t(m.epilogue.columnScales ? 1 : bytesOf(m.weightType)) % 16 == 0 &&
         layOut(m, launcher, layout);
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
