// Products of many rows: y[z] = epilogue(a[z] b[z]), our own where cuBLASLt is absent or a shape is none of its own
// (convolutions, the batched products of the attention baselines).
//
// Shapes   a [rows, depth], b [columns, depth] (weights as they are stored) or [depth, columns] (attention's values)
// Bytes    each block reads (BM + BN) x depth elements: BM x BN / (BM + BN) products an element, 64 for 128 x 128
// Method   the usual pipeline of tensor-core products (CUTLASS's "multistage"): slices of 64 bytes of each row come
//          into shared memory three stages deep with cp.async while warps multiply the stage before. Rows are 80 bytes
//          apart there, so that ldmatrix's 8 rows fall into different banks.
// 8 bits   weights of 8 bits are widened on their way into shared memory: into registers before a stage is multiplied,
//          into shared memory behind it. Where x is of 8 bits as well, two neighbours stand for one half: fragments of
//          whole numbers lie as those of halves do, so that only the instruction is another one. Sums are exact.
//
// A convolution is a product whose rows overlap: with weights as [outputs, kernel, channels], output t's row is the
// kernel x channels elements from (t stride - padding) x channels on, and what lies outside the sequence counts as
// zero.
//
// History
//   Whole numbers: never timed. Prediction for 1,500 rows, 1,280 to 5,120, on an H100 or H200: 30 us, about half of
//   what mma.sync on int8 can do there (some 1,200 TOPS), nothing going through memory behind it; cuBLASLt with the
//   kernel for its sums 26. Registers on 90a: 96 and 128, as of halves; widened 121 and 160; no spills.
#include "cuda/kernels/bytes.h"
#include "cuda/kernels/tensor_core.h"

namespace onehead::cuda {

namespace {

/** b's form: as a's, with its rows along the depth, or whole numbers of 8 bits that are widened to a's type. */
enum class Right { plain, transposed, widened };

template <class T, int BM, int BN, int WM, int WN, Right B>
struct Tiling {
  static constexpr int threads = WM * WN * 32, stages = 3;
  static constexpr int vector = vectorSize<T>;
  static constexpr int depth = 4 * vector;   // of a stage: 64 bytes
  static constexpr int stride = 5 * vector;  // between rows of a and of plain b in shared memory
  static constexpr int wide = BN + vector;   // between rows of transposed b
  static constexpr int aElements = BM * stride;
  static constexpr int bElements = B == Right::transposed ? depth * wide : BN * stride;
  static constexpr int stageElements = aElements + bElements;
  static constexpr size_t sharedBytes = size_t(stages) * stageElements * sizeof(T);
  static constexpr int mTiles = BM / WM / 16, nTiles = BN / WN / 8;
};

/** 16 bytes of a row into shared memory: in the background where everything is aligned, else one by one. */
template <class T>
__device__ inline void loadChunk(T* to, const T* from, int elements, bool aligned) {
  constexpr int vector = vectorSize<T>;
  if (aligned) {
    copyAsync16(to, from, elements * int(sizeof(T)));
  } else {
    for (int i = 0; i < vector; ++i) to[i] = i < elements ? from[i] : T{};
  }
}

/** Up to eight whole numbers, zeros behind them. */
__device__ inline uint2 loadBytes(const int8_t* from, int count, bool aligned) {
  if (aligned && count == 8) return *reinterpret_cast<const uint2*>(from);
  uint64_t all = 0;
  for (int i = 0; i < count; ++i) all |= uint64_t(uint8_t(from[i])) << i * 8;
  return {uint32_t(all), uint32_t(all >> 32)};
}

/** Blocks of a multiprocessor, which their registers must leave room for; 0: as many as the compiler finds best, but
 * for small tiles of widened weights it is too many on compute capability 10.0, and spills. */
template <int BM, Right B>
constexpr int blocksAtOnce = B == Right::widened&& BM == 64 ? 4 : 0;

template <class T, int BM, int BN, int WM, int WN, Right B>
__global__ void __launch_bounds__(WM* WN * 32, blocksAtOnce<BM, B>)
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
  if (p.start) depth = smaller<int64_t>(depth, p.start[z / p.startInner] + p.startExtra);
  const T* a = static_cast<const T*>(p.a) + offsetOf(p.aBatch, z);
  using Stored = std::conditional_t<B == Right::widened, int8_t, T>;
  const Stored* b = static_cast<const Stored*>(p.b) + offsetOf(p.bBatch, z);

  // Where this thread's rows of a begin, and which of their elements there are.
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
      aFirst[i] = larger<int64_t>(0, -begin);
      aLast[i] = smaller<int64_t>(depth, p.aLimit - begin);
    }
  }
  auto load = [&](int64_t tile, int stage) {
    T* aTile = shared + stage * Tiles::stageElements;
    T* bTile = aTile + Tiles::aElements;
    const int64_t k0 = tile * Tiles::depth;
#pragma unroll
    for (int i = 0; i < aLoads; ++i) {
      const int place = thread + i * Tiles::threads, chunk = place % chunks;
      const int64_t k = k0 + chunk * vector;
      T* to = aTile + place / chunks * Tiles::stride + chunk * vector;
      const int count = int(smaller<int64_t>(vector, larger<int64_t>(0, aLast[i] - k)));
      if (k >= aFirst[i]) {
        loadChunk(to, count ? aRow[i] + k : a, count, aAligned);
      } else if (k + vector <= aFirst[i]) {
        loadChunk(to, a, 0, aAligned);
      } else {  // the sequence begins inside these 16 bytes; only where nothing is aligned
        for (int j = 0; j < vector; ++j) to[j] = k + j >= aFirst[i] && k + j < aLast[i] ? aRow[i][k + j] : T{};
      }
    }
    if constexpr (B == Right::transposed) {
      constexpr int rowChunks = BN / vector;
      for (int place = thread; place < Tiles::depth * rowChunks; place += Tiles::threads) {
        const int64_t k = k0 + place / rowChunks, column = column0 + place % rowChunks * vector;
        const int count = k < depth ? int(smaller<int64_t>(vector, larger<int64_t>(0, p.columns - column))) : 0;
        loadChunk(bTile + place / rowChunks * Tiles::wide + place % rowChunks * vector,
                  count ? b + k * p.bStride + column : b, count, bAligned);
      }
    } else if constexpr (B == Right::plain) {
      for (int place = thread; place < BN * chunks; place += Tiles::threads) {
        const int64_t column = column0 + place / chunks, k = k0 + place % chunks * vector;
        const int count = column < p.columns ? int(smaller<int64_t>(vector, larger<int64_t>(0, depth - k))) : 0;
        loadChunk(bTile + place / chunks * Tiles::stride + place % chunks * vector,
                  count ? b + column * p.bStride + k : b, count, bAligned);
      }
    }
  };

  // Whole numbers on their way into shared memory, eight at a time.
  constexpr int eights = Tiles::depth / 8;
  uint2 bytes[B == Right::widened ? BN * eights / Tiles::threads : 1];
  auto eachEight = [&](auto job) {
    if constexpr (B == Right::widened) {
      static_assert(BN * eights % Tiles::threads == 0);
#pragma unroll
      for (int i = 0; i < BN * eights / Tiles::threads; ++i) {
        const int place = thread + i * Tiles::threads;
        job(bytes[i], place / eights, place % eights * 8);
      }
    }
  };
  auto take = [&](int64_t tile) {
    eachEight([&](uint2& eight, int row, int at) {
      const int64_t column = column0 + row, k = tile * Tiles::depth + at;
      const int count = column < p.columns ? int(smaller<int64_t>(8, larger<int64_t>(0, depth - k))) : 0;
      if constexpr (B == Right::widened) eight = loadBytes(b + column * p.bStride + k, count, bAligned);
    });
  };
  auto place = [&](int stage) {
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
      take(stage);
      place(stage);
    }
    commitCopies();
  }
  for (int64_t tile = 0; tile < tiles; ++tile) {
    waitForCopies<Tiles::stages - 2>();
    __syncthreads();
    const int64_t ahead = tile + Tiles::stages - 1;
    if (ahead < tiles) {
      load(ahead, int(ahead % Tiles::stages));
      take(ahead);
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
    if (ahead < tiles) place(int(ahead % Tiles::stages));
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
  // Whole numbers are loaded eight at a time.
  constexpr size_t bAlignment = B == Right::widened ? 8 : 16, bBytes = B == Right::widened ? 1 : sizeof(T);
  const bool a = aligned16(p.a) && aligned(p.aBatch, sizeof(T)) && aligned(p.aRows, sizeof(T)) &&
                 multipleOf(p.aBegin, sizeof(T)) && multipleOf(p.aLimit, sizeof(T));
  const bool b = aligned16(p.b) && aligned(p.bBatch, bBytes) && size_t(p.bStride) * bBytes % bAlignment == 0;
  const dim3 grid(unsigned(divideUp<int64_t>(p.columns, BN)), unsigned(divideUp<int64_t>(p.rows, BM)),
                  unsigned(p.batch));
  return launch(launcher, productKernel<T, BM, BN, WM, WN, B>, grid, dim3(Tiles::threads), Tiles::sharedBytes, p, a, b);
}

/** Large tiles where they fill the device; small ones where rows or columns are few. */
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
