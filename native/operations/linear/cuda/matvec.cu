// Products of 1 to 4 rows (a decode step of few sequences), with the norm, bias, activation and residual fused, where
// row_product.cu cannot be used: on GPUs without clusters, or if rows are not multiples of 16 bytes.
//
// Shapes   x [rows, depth], weight [columns, depth] -> y [rows, columns]
// Launch   at most 12 blocks per multiprocessor of 128 threads; shared memory: x as float32
// Bytes    columns x depth of weights, read once; x and the norm's weights are small
// Work     rows multiply-adds per weight, far below the GPU's ratio: only bytes in flight matter
// Method   A warp computes one or two columns. Its lanes load 16 consecutive bytes each, several before the first is
//          used, and the first ones before the previous kernel has ended (weights do not change). x is in shared memory
//          as float32, normalized by each block itself: that reads a few kilobytes from the L2 cache per block and
//          saves a kernel. For half types x is split into two planes of float4 (four planes for int8 weights), so that
//          neighbouring lanes read neighbouring words.
//
// History
//   Measured on an H200 at commit 1dabc91 (turbo's shapes, float16, microseconds at batch 1): norm and query/key/value
//   8.96, out 5.4, norm and cross query 8.5, norm and up 8.8, down 15.3, norm and logits 40.8 (83% of bandwidth). The
//   norm's prologue waited for memory three times in a row (Nsight Compute: long scoreboard).
//   row_product.cu replaces this kernel where there are clusters. Not measured since.
//   int8 weights, never measured: 16 per load, widened to float32 in registers, x not rounded. Half the bytes in flight
//   for as many loads.
//   Registers for 90a: 32 to 127; no spills.
#include "cuda/kernels/bytes.h"

namespace onehead::cuda {

namespace {

constexpr int threads = 128, warps = threads / 32;
constexpr int loadsInFlight = 4;  // loads in flight per lane: 72 KB per multiprocessor (published kernels: 16 KB)
/** The most blocks per multiprocessor. Not tuned on a GPU. */
constexpr int blocksPerMultiprocessor = 12;
/** Columns per multiprocessor from which a warp computes two: four blocks per multiprocessor remain. Not tuned on a
 * GPU. */
constexpr int columnsForTwo = 32;

/** The index in shared memory of element k of a row of x. */
template <int Vector>
__device__ inline int sharedIndex(int k, int depth) {
  return Vector > 4 ? (k % Vector / 4) * (depth / Vector * 4) + k / Vector * 4 + k % 4 : k;
}

/** Sums each of `Count` values over the block. */
template <int Count>
__device__ inline void blockSums(float (&values)[Count], float* scratch) {
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
#pragma unroll
  for (int i = 0; i < Count; ++i) {
    values[i] = warpSum(values[i]);
    if (lane == 0) scratch[warp * Count + i] = values[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < Count; ++i) {
    values[i] = 0;
#pragma unroll
    for (int w = 0; w < warps; ++w) values[i] += scratch[w * Count + i];
  }
  __syncthreads();
}

/** Loads x's rows into shared memory and normalizes them. */
template <int Rows, int Vector>
__device__ inline void prepareRows(const FewRowsArguments& m, float* x, float* scratch) {
  const int depth = int(m.depth), rows = int(m.rows);
  float sums[Rows] = {};
#pragma unroll
  for (int row = 0; row < Rows; ++row)
    for (int k = int(threadIdx.x); k < depth; k += threads) {
      const float value = row < rows ? loadAs(m.x, m.xType, int64_t(row) * depth + k) : 0.0f;
      x[row * depth + sharedIndex<Vector>(k, depth)] = value;
      sums[row] += value;
    }
  if (m.normWeight) {
    blockSums(sums, scratch);
    float means[Rows], squares[Rows] = {};
#pragma unroll
    for (int row = 0; row < Rows; ++row) {
      means[row] = sums[row] / float(depth);
      for (int k = int(threadIdx.x); k < depth; k += threads) {
        const float difference = x[row * depth + sharedIndex<Vector>(k, depth)] - means[row];
        squares[row] += difference * difference;
      }
    }
    blockSums(squares, scratch);
#pragma unroll
    for (int row = 0; row < Rows; ++row) {
      const float factor = rsqrtf(squares[row] / float(depth) + m.epsilon);
      for (int k = int(threadIdx.x); k < depth; k += threads) {
        float& value = x[row * depth + sharedIndex<Vector>(k, depth)];
        value = (value - means[row]) * factor * m.normWeight[k] + m.normBias[k];
      }
    }
  }
  __syncthreads();
}

template <class T, int Vector>
struct Chunk;
template <class T>
struct Chunk<T, vectorSize<T>> {
  uint4 raw;
  __device__ void load(const T* from) { raw = loadConstant16(from); }
  __device__ void values(float (&to)[vectorSize<T>]) const {
    if constexpr (std::is_same_v<T, int8_t>)
      unpackBytes(raw, to);
    else
      unpack<T>(raw, to);
  }
};
template <class T>
struct Chunk<T, 1> {
  T raw;
  __device__ void load(const T* from) { raw = *from; }
  __device__ void values(float (&to)[1]) const { to[0] = toFloat(raw); }
};

template <class T, int Rows, int Columns, int Vector>
__global__ void __launch_bounds__(threads) matvecKernel(const __grid_constant__ FewRowsArguments m) {
  ONEHEAD_SHARED(float, x);  // [Rows][depth], then scratch
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  const int depth = int(m.depth), chunks = depth / Vector;
  const int64_t step = int64_t(gridDim.x) * warps * Columns;
  int64_t column = (int64_t(blockIdx.x) * warps + warp) * Columns;
  const T* weight = static_cast<const T*>(m.weight);

  Chunk<T, Vector> nextChunks[Columns][loadsInFlight];
  auto fetch = [&](int64_t from, int chunk) {
#pragma unroll
    for (int u = 0; u < loadsInFlight; ++u)
#pragma unroll
      for (int c = 0; c < Columns; ++c) {
        const int64_t row = min<int64_t>(from + c, m.columns - 1);
        const int at = min(chunk + u * 32, chunks - 1);
        nextChunks[c][u].load(weight + row * depth + at * Vector);
      }
  };
  letNextKernelStart();
  if (m.weightChanges) waitForPreviousKernel();
  fetch(column, lane);
  waitForPreviousKernel();
  prepareRows<Rows, Vector>(m, x, x + Rows * depth);

  for (; column < m.columns; column += step) {
    float sums[Columns][Rows] = {};
    for (int chunk = lane; chunk < chunks; chunk += 32 * loadsInFlight) {
      Chunk<T, Vector> currentChunks[Columns][loadsInFlight];
#pragma unroll
      for (int u = 0; u < loadsInFlight; ++u)
#pragma unroll
        for (int c = 0; c < Columns; ++c) currentChunks[c][u] = nextChunks[c][u];
      const bool more = chunk + 32 * loadsInFlight < chunks;
      if (more || column + step < m.columns)
        fetch(more ? column : column + step, more ? chunk + 32 * loadsInFlight : lane);
#pragma unroll
      for (int u = 0; u < loadsInFlight; ++u) {
        const int at = chunk + u * 32;
        if (at >= chunks) break;
        float left[Rows][Vector];
#pragma unroll
        for (int row = 0; row < Rows; ++row) {
          const float* from = x + row * depth;
          if constexpr (Vector > 4) {
#pragma unroll
            for (int plane = 0; plane < Vector / 4; ++plane) {
              const float4 four = *reinterpret_cast<const float4*>(from + plane * (depth / Vector * 4) + at * 4);
              left[row][plane * 4] = four.x, left[row][plane * 4 + 1] = four.y;
              left[row][plane * 4 + 2] = four.z, left[row][plane * 4 + 3] = four.w;
            }
          } else {
#pragma unroll
            for (int i = 0; i < Vector; ++i) left[row][i] = from[at * Vector + i];
          }
        }
#pragma unroll
        for (int c = 0; c < Columns; ++c) {
          float right[Vector];
          currentChunks[c][u].values(right);
#pragma unroll
          for (int row = 0; row < Rows; ++row)
#pragma unroll
            for (int i = 0; i < Vector; ++i) sums[c][row] = fmaf(left[row][i], right[i], sums[c][row]);
        }
      }
    }
#pragma unroll
    for (int c = 0; c < Columns; ++c)
#pragma unroll
      for (int row = 0; row < Rows; ++row) {
        float value = warpSum(sums[c][row]) * m.epilogue.scale;
        if (lane != row || row >= m.rows || column + c >= m.columns) continue;  // lane r stores row r
        if (m.epilogue.columnScales) value *= m.epilogue.columnScales[column + c];
        if (m.epilogue.bias) value += m.epilogue.bias[column + c];
        value = activate(value, m.epilogue.activation);
        const int64_t at = row * m.columns + column + c;
        if (m.epilogue.residual) value += m.epilogue.residual[row % m.epilogue.residualRows * m.columns + column + c];
        storeAs(m.y, m.yType, at, value);
      }
  }
}

size_t sharedBytes(int64_t rows, int64_t depth) { return size_t(rows * depth + warps * matvecRows) * sizeof(float); }
int64_t roundedRows(int64_t rows) { return rows == 3 ? 4 : rows; }

template <class T, int Rows, int Columns, int Vector>
cudaError_t run(const FewRowsArguments& m, const Launcher& launcher) {
  const int64_t blocks =
      min<int64_t>(divideUp<int64_t>(m.columns, warps * Columns), launcher.multiprocessors * blocksPerMultiprocessor);
  return launch(launcher, matvecKernel<T, Rows, Columns, Vector>, dim3(unsigned(blocks)), dim3(threads),
                sharedBytes(Rows, m.depth), m);
}

template <class T, int Rows>
cudaError_t runRows(const FewRowsArguments& m, const Launcher& launcher) {
  const bool aligned = m.depth % vectorSize<T> == 0 && aligned16(m.weight);
  if (!aligned) return run<T, Rows, 1, 1>(m, launcher);
  // With two columns a warp reads x half as often; with one, few columns are spread more evenly.
  return m.columns >= int64_t(launcher.multiprocessors) * columnsForTwo ? run<T, Rows, 2, vectorSize<T>>(m, launcher)
                                                                        : run<T, Rows, 1, vectorSize<T>>(m, launcher);
}

}  // namespace

bool matvecFits(const FewRowsArguments& m, const Launcher& launcher) {
  return m.rows <= matvecRows && sharedBytes(roundedRows(m.rows), m.depth) <= launcher.sharedMemory;
}

cudaError_t matvec(const FewRowsArguments& m, const Launcher& launcher) {
  auto start = [&](auto element) {
    using T = decltype(element);
    if (m.rows == 1) return runRows<T, 1>(m, launcher);
    return m.rows == 2 ? runRows<T, 2>(m, launcher) : runRows<T, 4>(m, launcher);
  };
  // Sums are float32 for any type of weights: int8 needs no other kernel.
  return m.epilogue.columnScales ? start(int8_t{}) : withType(m.weightType, start);
}

}  // namespace onehead::cuda
