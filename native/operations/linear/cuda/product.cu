// Products of many rows, y[z] = epilogue(a[z] b[z]), where cuBLASLt is absent or does not support the shape:
// convolutions, and the batched products of the attention baselines.
//
// Shapes   a [rows, depth], b [columns, depth] (weights as stored) or [depth, columns] (attention's values)
// Launch   grid (column tiles, row tiles, batch); tiles of 128 x 128 with 8 warps or 64 x 64 with 4; shared memory:
//          three stages, 60 or 30 KB for half types
// Bytes    each block reads (BM + BN) x depth elements: BM x BN / (BM + BN) products per element, 64 for 128 x 128
// Method   CUTLASS's "multistage" pipeline: slices of 64 bytes of each row are copied to shared memory with cp.async,
//          three stages deep, while warps multiply the previous stage. Rows are 80 bytes apart in shared memory, so
//          that the 8 rows of an ldmatrix fall into different banks.
// int8     Weights are widened on their way to shared memory: loaded into registers before a stage is multiplied, and
//          stored after it. If x is int8 too, two int8 are treated as one half-precision element, since fragments of
//          both have the same layout; only the MMA instruction differs. Integer sums are exact.
//
// A convolution is a product with overlapping rows: with weights as [outputs, kernel, channels], the row of output t is
// the kernel x channels elements from (t stride - padding) x channels on; elements outside the sequence are zero.
//
// History
//   int8 x int8, never measured. Predicted for 1,500 rows and 1,280 to 5,120 columns on an H100 or H200: 30 us, about
//   half the rate of mma.sync on int8 (some 1,200 TOPS), with no sums going through memory; cuBLASLt followed by
//   finishSums 26. Registers for 90a: 96 and 128, as for half types; with widened weights 125 and 159; no spills.
#include "cuda/kernels/bytes.h"
#include "cuda/kernels/tensor_core.h"

namespace onehead::cuda {

namespace {

/** The form of b: [columns, depth] of a's type, [depth, columns] of a's type, or int8 [columns, depth] to be widened.
 * */
enum class Right { plain, transposed, widened };

template <class T, int BM, int BN, int WM, int WN, Right B>
struct Tiling {
  static constexpr int threads = WM * WN * 32, stages = 3;
  static constexpr int vector = vectorSize<T>;
  static constexpr int depth = 4 * vector;   // of a stage: 64 bytes
  static constexpr int stride = 5 * vector;  // between rows of a, and of b unless transposed, in shared memory
  static constexpr int wide = BN + vector;   // between rows of transposed b
  static constexpr int aElements = BM * stride;
  static constexpr int bElements = B == Right::transposed ? depth * wide : BN * stride;
  static constexpr int stageElements = aElements + bElements;
  static constexpr size_t sharedBytes = size_t(stages) * stageElements * sizeof(T);
  static constexpr int mTiles = BM / WM / 16, nTiles = BN / WN / 8;
};

/** Copies 16 bytes of a row to shared memory: with cp.async if everything is aligned, otherwise element by element. */
template <class T>
__device__ inline void loadChunk(T* to, const T* from, int elements, bool aligned) {
  constexpr int vector = vectorSize<T>;
  if (aligned) {
    copyAsync16(to, from, elements * int(sizeof(T)));
  } else {
    for (int i = 0; i < vector; ++i) to[i] = i < elements ? from[i] : T{};
  }
}

/** Up to eight int8, padded with zeros. */
__device__ inline uint2 loadBytes(const int8_t* from, int count, bool aligned) {
  if (aligned && count == 8) return *reinterpret_cast<const uint2*>(from);
  uint64_t all = 0;
  for (int i = 0; i < count; ++i) all |= uint64_t(uint8_t(from[i])) << i * 8;
  return {uint32_t(all), uint32_t(all >> 32)};
}

/** Resident blocks per multiprocessor that the kernel is compiled for; 0 leaves it to the compiler. For small tiles of
 * widened weights the compiler aims at too many on compute capability 10.0, and spills. */
template <int BM, Right B>
constexpr int residentBlocks = B == Right::widened&& BM == 64 ? 4 : 0;

template <class T, int BM, int BN, int WM, int WN, Right B>
__global__ void __launch_bounds__(WM* WN * 32, residentBlocks<BM, B>)
    productKernel(const __grid_constant__ ProductArguments p, bool aAligned, bool bAligned) {
  using Tiles = Tiling<T, BM, BN, WM, WN, B>;
  constexpr int vector = Tiles::vector, chunks = 4;
  constexpr int aLoads = BM * chunks / Tiles::threads;
  ONEHEAD_SHARED(T, shared);
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int64_t row0 = int64_t(blockIdx.y) * BM, column0 = int64_t(blockIdx.x) * BN, z = blockIdx.z;
  letNextKernelStart();
  waitForPreviousKernel();
  int64_t depth = p.depth;
  if (p.start) depth = min<int64_t>(depth, max<int64_t>(p.start[z / p.startInner], 0) + p.startExtra);
  const T* a = static_cast<const T*>(p.a) + offsetOf(p.aBatch, z);
  using Stored = std::conditional_t<B == Right::widened, int8_t, T>;
  const Stored* b = static_cast<const Stored*>(p.b) + offsetOf(p.bBatch, z);

  // Where this thread's rows of a begin, and the range of elements that exist.
  const T* aRow[aLoads];
  int64_t aFirst[aLoads], aLast[aLoads];
#pragma unroll
  for (int i = 0; i < aLoads; ++i) {
    const int64_t row = row0 + (thread + i * Tiles::threads) / chunks;
    aRow[i] = a + p.aBegin;
    aFirst[i] = 0;
    aLast[i] = 0;
    if (row >= p.rows) continue;
    aRow[i] += offsetOf(p.aRows, row);
    aLast[i] = depth;
    if (p.aLimit) {
      const int64_t begin = row % p.aRows.inner * p.aRows.innerStride + p.aBegin;
      aFirst[i] = max<int64_t>(0, -begin);
      aLast[i] = min<int64_t>(depth, p.aLimit - begin);
    }
  }
  auto load = [&](int64_t tile, int stage) {
    T* aTile = shared + stage * Tiles::stageElements;
    T* bTile = aTile + Tiles::aElements;
    const int64_t k0 = tile * Tiles::depth;
#pragma unroll
    for (int i = 0; i < aLoads; ++i) {
      const int index = thread + i * Tiles::threads, chunk = index % chunks;
      const int64_t k = k0 + chunk * vector;
      T* to = aTile + index / chunks * Tiles::stride + chunk * vector;
      const int count = int(min<int64_t>(vector, max<int64_t>(0, aLast[i] - k)));
      if (k >= aFirst[i]) {
        loadChunk(to, count ? aRow[i] + k : a, count, aAligned);
      } else if (k + vector <= aFirst[i]) {
        loadChunk(to, a, 0, aAligned);
      } else {  // the sequence begins within these 16 bytes, which only happens if nothing is aligned
        for (int j = 0; j < vector; ++j) to[j] = k + j >= aFirst[i] && k + j < aLast[i] ? aRow[i][k + j] : T{};
      }
    }
    if constexpr (B == Right::transposed) {
      constexpr int rowChunks = BN / vector;
      for (int index = thread; index < Tiles::depth * rowChunks; index += Tiles::threads) {
        const int64_t k = k0 + index / rowChunks, column = column0 + index % rowChunks * vector;
        const int count = k < depth ? int(min<int64_t>(vector, max<int64_t>(0, p.columns - column))) : 0;
        loadChunk(bTile + index / rowChunks * Tiles::wide + index % rowChunks * vector,
                  count ? b + k * p.bStride + column : b, count, bAligned);
      }
    } else if constexpr (B == Right::plain) {
      for (int index = thread; index < BN * chunks; index += Tiles::threads) {
        const int64_t column = column0 + index / chunks, k = k0 + index % chunks * vector;
        const int count = column < p.columns ? int(min<int64_t>(vector, max<int64_t>(0, depth - k))) : 0;
        loadChunk(bTile + index / chunks * Tiles::stride + index % chunks * vector,
                  count ? b + column * p.bStride + k : b, count, bAligned);
      }
    }
  };

  // int8 weights on their way to shared memory, eight at a time.
  constexpr int eightsPerRow = Tiles::depth / 8;
  uint2 bytes[B == Right::widened ? BN * eightsPerRow / Tiles::threads : 1];
  auto eachEight = [&](auto job) {
    if constexpr (B == Right::widened) {
      static_assert(BN * eightsPerRow % Tiles::threads == 0);
#pragma unroll
      for (int i = 0; i < BN * eightsPerRow / Tiles::threads; ++i) {
        const int index = thread + i * Tiles::threads;
        job(bytes[i], index / eightsPerRow, index % eightsPerRow * 8);
      }
    }
  };
  auto loadInt8 = [&](int64_t tile) {
    eachEight([&](uint2& eight, int row, int at) {
      const int64_t column = column0 + row, k = tile * Tiles::depth + at;
      const int count = column < p.columns ? int(min<int64_t>(8, max<int64_t>(0, depth - k))) : 0;
      if constexpr (B == Right::widened) eight = loadBytes(b + column * p.bStride + k, count, bAligned);
    });
  };
  auto storeInt8 = [&](int stage) {
    eachEight([&](const uint2& eight, int row, int at) {
      T* to = shared + stage * Tiles::stageElements + Tiles::aElements + row * Tiles::stride + at;
      if constexpr (B == Right::widened) {
        uint4 wide[8 / vector];
        widenScaled<T>(eight, 1.0f, wide);
#pragma unroll
        for (int i = 0; i < 8 / vector; ++i) reinterpret_cast<uint4*>(to)[i] = wide[i];
      }
    });
  };

  constexpr int mTiles = Tiles::mTiles, nTiles = Tiles::nTiles;
  const int warpRow = warp / WN * mTiles * 16, warpColumn = warp % WN * nTiles * 8;
  Sum<T> sums[mTiles][nTiles][4] = {};
  const int64_t tiles = divideUp<int64_t>(depth, Tiles::depth);
  for (int stage = 0; stage < Tiles::stages - 1; ++stage) {
    if (stage < tiles) {
      load(stage, stage);
      loadInt8(stage);
      storeInt8(stage);
    }
    commitCopies();
  }
  for (int64_t tile = 0; tile < tiles; ++tile) {
    waitForCopies<Tiles::stages - 2>();
    __syncthreads();
    const int64_t next = tile + Tiles::stages - 1;
    if (next < tiles) {
      load(next, int(next % Tiles::stages));
      loadInt8(next);
    }
    commitCopies();
    const T* aTile = shared + int(tile % Tiles::stages) * Tiles::stageElements;
    const T* bTile = aTile + Tiles::aElements;
#pragma unroll
    for (int k = 0; k < Tiles::depth; k += 16) {
      Pair<T> left[mTiles][4];
#pragma unroll
      for (int m = 0; m < mTiles; ++m) loadA<T>(left[m], aTile + (warpRow + m * 16) * Tiles::stride + k, Tiles::stride);
#pragma unroll
      for (int n = 0; n < nTiles; n += 2) {
        Pair<T> right[2][2];
        if constexpr (B == Right::transposed)
          loadBTransposed<T>(right, bTile + k * Tiles::wide + warpColumn + n * 8, Tiles::wide);
        else
          loadB<T>(right, bTile + (warpColumn + n * 8) * Tiles::stride + k, Tiles::stride);
#pragma unroll
        for (int m = 0; m < mTiles; ++m) {
          multiply<T>(sums[m][n], left[m], right[0]);
          multiply<T>(sums[m][n + 1], left[m], right[1]);
        }
      }
    }
    if (next < tiles) storeInt8(int(next % Tiles::stages));
  }

  const Epilogue& e = p.epilogue;
  const int64_t matrix = offsetOf(p.yBatch, z);
#pragma unroll
  for (int m = 0; m < mTiles; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t row = row0 + warpRow + m * 16 + half * 8 + lane / 4;
      if (row >= p.rows) continue;
      const int64_t at = matrix + offsetOf(p.yRows, row);
      const float* residual = e.residual ? e.residual + row % e.residualRows * p.columns : nullptr;
      const float scale = e.rowScales ? e.scale * e.rowScales[row] : e.scale;
#pragma unroll
      for (int n = 0; n < nTiles; ++n)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int64_t column = column0 + warpColumn + n * 8 + lane % 4 * 2 + i;
          if (column >= p.columns) continue;
          float value = float(sums[m][n][half * 2 + i]) * scale;
          if (e.columnScales) value *= e.columnScales[column];
          if (e.bias) value += e.bias[column];
          value = activate(value, e.activation);
          if (residual) value += residual[column];
          storeAs(p.y, p.yType, at + column, value);
        }
    }
}

bool multipleOf(int64_t elements, size_t elementBytes) { return size_t(elements) * elementBytes % 16 == 0; }
bool aligned(const Stepping& s, size_t bytes) {
  return multipleOf(s.outerStride, bytes) && multipleOf(s.innerStride, bytes);
}

template <class T, int BM, int BN, int WM, int WN, Right B>
cudaError_t run(const ProductArguments& p, const Launcher& launcher) {
  using Tiles = Tiling<T, BM, BN, WM, WN, B>;
  // int8 is loaded eight at a time.
  constexpr size_t bAlignment = B == Right::widened ? 8 : 16, bBytes = B == Right::widened ? 1 : sizeof(T);
  const bool a = aligned16(p.a) && aligned(p.aBatch, sizeof(T)) && aligned(p.aRows, sizeof(T)) &&
                 multipleOf(p.aBegin, sizeof(T)) && multipleOf(p.aLimit, sizeof(T));
  const bool b = aligned16(p.b) && aligned(p.bBatch, bBytes) && size_t(p.bStride) * bBytes % bAlignment == 0;
  const dim3 grid(unsigned(divideUp<int64_t>(p.columns, BN)), unsigned(divideUp<int64_t>(p.rows, BM)),
                  unsigned(p.batch));
  return launch(launcher, productKernel<T, BM, BN, WM, WN, B>, grid, dim3(Tiles::threads), Tiles::sharedBytes, p, a, b);
}

/** Large tiles if they fill the GPU, otherwise small ones. */
template <class T, Right B>
cudaError_t runTiles(const ProductArguments& p, const Launcher& launcher) {
  const int64_t large = divideUp<int64_t>(p.rows, 128) * divideUp<int64_t>(p.columns, 128) * p.batch;
  return p.rows >= 96 && p.columns >= 96 && large >= launcher.multiprocessors ? run<T, 128, 128, 2, 4, B>(p, launcher)
                                                                              : run<T, 64, 64, 2, 2, B>(p, launcher);
}

}  // namespace

cudaError_t product(const ProductArguments& p, const Launcher& launcher) {
  if (p.epilogue.rowScales) {
    ProductArguments pairs = p;
    pairs.depth /= 2;
    pairs.bStride /= 2;
    for (int64_t* stride : {&pairs.aRows.outerStride, &pairs.aRows.innerStride}) *stride /= 2;
    return runTiles<BytePair, Right::plain>(pairs, launcher);
  }
  return withType(p.type, [&](auto element) {
    using T = decltype(element);
    if (p.bTransposed) return run<T, 64, 64, 2, 2, Right::transposed>(p, launcher);
    return p.epilogue.columnScales ? runTiles<T, Right::widened>(p, launcher) : runTiles<T, Right::plain>(p, launcher);
  });
}

}  // namespace onehead::cuda
