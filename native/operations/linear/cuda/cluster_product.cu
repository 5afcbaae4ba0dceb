// Products of 1 to 64 rows (decode steps) where blocks may stand in clusters, with the norm before and everything
// behind fused: bound by reading the weight, so it is read once, and as early as can be.
//
// Shapes   x [rows, depth], weight [columns, depth] -> y [rows, columns]
// Bytes    columns x depth weights; x once a cluster of 64 columns, from the second-level cache
// Method   a block makes 64 columns, a warp 16 of them, on the matrix unit whose rows the weight's rows are (x's rows
// are
//          its columns, 8 at a time). Few columns are spread over the device by splitting the depth over a cluster of 2
//          to 8 blocks: each has its share of the weights and of x, and they add up their sums through each other's
//          shared memory. Every warp has a ring of its own in shared memory: it fills it with cp.async before the
//          kernel before has ended (weights do not change), and no barrier stands in its loop.
//          The norm is made inside: each block knows mean and squares about that mean of its share of a row, and they
//          are joined over the cluster (Chan's formula, so that a large mean costs no precision).
//          A weight of 8 bits is widened in registers: a lane multiplies the 16 neighbouring depths that it loads of a
//          weight's row by the same 16 of x, so nothing is exchanged. A column's scale is the epilogue's.
//          Many columns (logits) need no split: each block goes on with further columns, and keeps x.
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
#include "cuda/kernels/bytes.h"
#include "cuda/kernels/tensor_core.h"

namespace onehead::cuda {

namespace {

constexpr int warps = 4, threads = warps * 32;
constexpr int warpColumns = 16, blockColumns = warps * warpColumns;
constexpr int mostSplit = 8;
constexpr int rowBytes = 128;  // of a weight's row in a stage: a cache line
constexpr int stageBytes = warpColumns * rowBytes;
constexpr int sumStride = 20;  // floats between rows of a warp's sums: what a warp writes at once falls into all banks

/** Of weights of type W. */
template <class W>
constexpr int stepDepth = rowBytes / int(sizeof(W));

/** Stages of each warp's ring. */
constexpr int stagesFor(int nTiles) { return nTiles <= 2 ? 6 : nTiles == 4 ? 5 : 4; }

/** How a case is laid out over blocks and in shared memory. */
struct Layout {
  int split = 1;               // blocks that share the depth: a cluster
  int steps = 0;               // of the depth, all together
  int64_t blocks = 0;          // of the grid
  int depth = 0, xStride = 0;  // of the largest share of the depth: elements, and bytes from a row of x to the next
  int sumsAt = 0, normAt = 0, xAt = 0;  // where in shared memory sums, the norm's weight and bias, and x begin, bytes
  size_t sharedBytes = 0;
};

/** Where a chunk of 16 bytes of a row lies. Chunks are exchanged by the row's number, so that rows that are read at
 * once fall into different banks: 8 of ldmatrix, or 2 of whole numbers, of which a lane reads 16 bytes. */
template <class W>
__device__ inline int chunkPlace(int row, int chunk) {
  return row * rowBytes + (chunk ^ (std::is_same_v<W, int8_t> ? row % 2 * 4 : row & 7)) * 16;
}

/** Brings 128 bytes of each of this warp's 16 weight rows into a stage; zeros where there are none. */
template <class W>
__device__ inline void fetchWeights(const FewRowsArguments& m, std::byte* stage, int64_t column0, int step) {
  const int lane = int(threadIdx.x) % 32;
  const W* weight = static_cast<const W*>(m.weight);
#pragma unroll
  for (int i = 0; i < stageBytes / 16 / 32; ++i) {
    const int place = i * 32 + lane, row = place / 8, chunk = place % 8;
    const int64_t column = column0 + row, k = int64_t(step) * stepDepth<W> + chunk * vectorSize<W>;
    const bool there = column < m.columns && k < m.depth;
    copyAsync16(stage + chunkPlace<W>(row, chunk), there ? weight + column * m.depth + k : weight, there ? 16 : 0);
  }
}

/** A[16][16] of a stage. */
template <class T>
__device__ inline void loadWeights(Pair<T> (&a)[4], const std::byte* stage, int slice) {
  const int lane = int(threadIdx.x) % 32;
  if constexpr (std::is_same_v<T, float>) {
    const int row = lane / 4, quad = lane % 4;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int chunk = slice * 4 + i / 2 * 2 + quad / 2;
      const std::byte* at = stage + chunkPlace<T>(row + i % 2 * 8, chunk) + quad % 2 * 8;
      a[i] = *reinterpret_cast<const float2*>(at);
    }
  } else {
    const int row = lane % 16, chunk = slice * 2 + lane / 16;
    loadMatrices<false>(a, stage + chunkPlace<T>(row, chunk));
  }
}

/**
 * The same with weights of 8 bits, whose four neighbours in a word are two pairs: a sum over the depth may be taken in
 * any order, so each lane multiplies the 16 neighbouring depths that it reads of a row of weights by the same 16 of x.
 */
template <class T, int NTiles>
__device__ inline void multiplyBytes(float (&sums)[NTiles][4], const std::byte* stage, const T* x, int stride) {
  constexpr int slices = stepDepth<int8_t> / 64;
  const int lane = int(threadIdx.x) % 32, group = lane / 4, quad = lane % 4;
#pragma unroll NTiles < 4 ? 2 : 1  // as far as registers allow
  for (int slice = 0; slice < slices; ++slice) {
    const int chunk = slice * 4 + quad;
    const uint4 top = *reinterpret_cast<const uint4*>(stage + chunkPlace<int8_t>(group, chunk));
    const uint4 bottom = *reinterpret_cast<const uint4*>(stage + chunkPlace<int8_t>(group + 8, chunk));
    const uint32_t tops[4] = {top.x, top.y, top.z, top.w}, bottoms[4] = {bottom.x, bottom.y, bottom.z, bottom.w};
    const T* row = x + group * stride + slice * 64 + quad * 16;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      Pair<T> left[2][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        widenBytes<T>(tops[half * 2 + i], left[i][0], left[i][2]);
        widenBytes<T>(bottoms[half * 2 + i], left[i][1], left[i][3]);
      }
#pragma unroll
      for (int n = 0; n < NTiles; ++n) {
        const T* from = row + n * 8 * stride + half * 8;
        Pair<T> right[2][2];
        if constexpr (std::is_same_v<T, float>) {
          const float4 low = *reinterpret_cast<const float4*>(from), high = *reinterpret_cast<const float4*>(from + 4);
          right[0][0] = make_float2(low.x, low.y), right[0][1] = make_float2(low.z, low.w);
          right[1][0] = make_float2(high.x, high.y), right[1][1] = make_float2(high.z, high.w);
        } else {
          const uint4 words = *reinterpret_cast<const uint4*>(from);
          right[0][0] = words.x, right[0][1] = words.y;
          right[1][0] = words.z, right[1][1] = words.w;
        }
        multiply<T>(sums[n], left[0], right[0]);
        multiply<T>(sums[n], left[1], right[1]);
      }
    }
  }
}

/** Adds a stage's products: `x` is where the stage's depths begin in the first row of x. */
template <class T, int NTiles>
__device__ inline void multiplyStage(float (&sums)[NTiles][4], const std::byte* stage, const T* x, int stride) {
  constexpr int slices = stepDepth<T> / 16;
  const int lane = int(threadIdx.x) % 32;
  if constexpr (NTiles == 1 && !std::is_same_v<T, float>) {
#pragma unroll
    for (int slice = 0; slice < slices; slice += 2) {  // 8 rows of x at 32 depths
      uint32_t right[4];
      loadMatrices<false>(right, x + (lane % 8) * stride + slice * 16 + lane / 8 * 8);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        Pair<T> left[4];
        loadWeights<T>(left, stage, slice + i);
        const Pair<T> half[2] = {right[2 * i], right[2 * i + 1]};
        multiply<T>(sums[0], left, half);
      }
    }
  } else {
#pragma unroll
    for (int slice = 0; slice < slices; ++slice) {
      Pair<T> left[4];
      loadWeights<T>(left, stage, slice);
      if constexpr (NTiles == 1) {
        const T* row = x + (lane / 4) * stride + slice * 16 + lane % 4 * 2;
        const Pair<T> right[2] = {*reinterpret_cast<const Pair<T>*>(row), *reinterpret_cast<const Pair<T>*>(row + 8)};
        multiply<T>(sums[0], left, right);
      } else {
#pragma unroll
        for (int n = 0; n < NTiles; n += 2) {
          Pair<T> right[2][2];
          loadB<T>(right, x + n * 8 * stride + slice * 16, stride);
          multiply<T>(sums[n], left, right[0]);
          multiply<T>(sums[n + 1], left, right[1]);
        }
      }
    }
  }
}

/**
 * The norm of this block's share of x's rows, which lies in shared memory as float32 and becomes T in place. `count`
 * elements of each row are this block's, `norm` holds the norm's weight and bias for `depth` of them each, and behind
 * those there is room for two floats a row, twice.
 */
template <class T, class W, int NTiles>
__device__ inline void normRows(const FewRowsArguments& m, const Layout& l, std::byte* x, float* norm, int count) {
  constexpr int rowsOfWarp = NTiles * 8 / warps;
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32, rows = int(m.rows);
  float *shares = norm + 2 * l.depth, *whole = shares + 2 * NTiles * 8;
  auto fourOf = [&](int row, int k) { return reinterpret_cast<float4*>(x + row * l.xStride) + k / 4; };

  float sums[rowsOfWarp] = {}, squares[rowsOfWarp] = {};
  for (int k = lane * 4; k < count; k += 128)
#pragma unroll
    for (int i = 0; i < rowsOfWarp; ++i) {
      if (i * warps + warp >= rows) continue;
      const float4 four = *fourOf(i * warps + warp, k);
      sums[i] += (four.x + four.y) + (four.z + four.w);
    }
#pragma unroll
  for (int i = 0; i < rowsOfWarp; ++i) sums[i] = warpSum(sums[i]) / float(count);
  for (int k = lane * 4; k < count; k += 128)
#pragma unroll
    for (int i = 0; i < rowsOfWarp; ++i) {
      if (i * warps + warp >= rows) continue;
      const float4 four = *fourOf(i * warps + warp, k);
      const float a = four.x - sums[i], b = four.y - sums[i], c = four.z - sums[i], d = four.w - sums[i];
      squares[i] += (a * a + b * b) + (c * c + d * d);
    }
#pragma unroll
  for (int i = 0; i < rowsOfWarp; ++i) {
    const float all = warpSum(squares[i]);
    if (lane != 0) continue;
    shares[2 * (i * warps + warp)] = sums[i];
    shares[2 * (i * warps + warp) + 1] = all;
  }
  if (l.split > 1)
    clusterBarrier();
  else
    __syncthreads();
  if (thread < rows) {
    float means[mostSplit], mean = 0, all = 0;
#pragma unroll
    for (int rank = 0; rank < mostSplit; ++rank) {
      if (rank >= l.split) break;
      means[rank] = l.split > 1 ? loadFromRank(shares + 2 * thread, rank) : shares[2 * thread];
      all += l.split > 1 ? loadFromRank(shares + 2 * thread + 1, rank) : shares[2 * thread + 1];
    }
    float counts[mostSplit];
#pragma unroll
    for (int rank = 0; rank < mostSplit; ++rank) {
      if (rank >= l.split) break;
      const int begin = l.steps * rank / l.split * stepDepth<W>, end = l.steps * (rank + 1) / l.split * stepDepth<W>;
      counts[rank] = float(least(end, int(m.depth)) - begin) / float(m.depth);
      mean = fmaf(means[rank], counts[rank], mean);
    }
    float between = 0;
#pragma unroll
    for (int rank = 0; rank < mostSplit; ++rank) {
      if (rank >= l.split) break;
      between = fmaf((means[rank] - mean) * (means[rank] - mean), counts[rank], between);
    }
    whole[2 * thread] = mean;
    whole[2 * thread + 1] = rsqrtf(all / float(m.depth) + between + m.epsilon);
  }
  __syncthreads();
  for (int row = warp; row < rows; row += warps) {
    const float mean = whole[2 * row], factor = whole[2 * row + 1];
    for (int k = lane * 4; k - lane * 4 < l.depth; k += 128) {
      float four[4] = {};
      if (k < count) {
        const float4 from = *fourOf(row, k), weight = *reinterpret_cast<const float4*>(norm + k),
                     bias = *reinterpret_cast<const float4*>(norm + l.depth + k);
        four[0] = fmaf((from.x - mean) * factor, weight.x, bias.x);
        four[1] = fmaf((from.y - mean) * factor, weight.y, bias.y);
        four[2] = fmaf((from.z - mean) * factor, weight.z, bias.z);
        four[3] = fmaf((from.w - mean) * factor, weight.w, bias.w);
      }
      __syncwarp();  // what is written here may lie where other lanes have just read, never where they will
      if (k >= l.depth) continue;
      auto* to = reinterpret_cast<Pair<T>*>(x + row * l.xStride + k * int(sizeof(T)));
      to[0] = makePair<T>(four[0], four[1]);
      to[1] = makePair<T>(four[2], four[3]);
    }
  }
}

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
  letNextStart();
  if (m.weightChanges) waitForPrevious();
  const int first = begin * stepDepth<W>, count = least(end * stepDepth<W>, int(m.depth)) - first;
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
  waitForPrevious();

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
