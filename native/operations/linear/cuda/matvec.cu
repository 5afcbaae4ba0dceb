// Products of 1 to 4 rows (a decode step of few sequences), with the norm before and everything behind fused: where
// cluster_product.cu does not take them, on GPUs without clusters or at depths that are no multiples of 16 bytes.
//
// Shapes   x [rows, depth], weight [columns, depth] -> y [rows, columns]
// Bytes    columns x depth weights, read once; x and the norm's weights are small
// Work     rows multiply-adds a weight: far below what the device can do, so only bytes in flight count
// Method   a warp makes one or two columns: its lanes load 16 neighbouring bytes each, several of them before the first
//          is used, and the first ones even before the kernel before has ended (weights do not change). x lies in
//          shared memory as float32, normed by the block itself: that costs each block a few kilobytes from the
//          second-level cache, and saves a kernel. For halves, x's fours lie in two planes (for weights of 8
//          bits in four), so that lanes next to each other read words next to each other.
//
// History
//   H200, commit 1dabc91, turbo's shapes, float16, microseconds at batch 1: norm and query key value 8.96, out 5.4,
//   norm and cross query 8.5, norm and up 8.8, down 15.3, norm and logits 40.8 (83% of bandwidth). The norm's prologue
//   waited for memory three times in a row (Nsight Compute: long scoreboard). In a program of its own a warp that took
//   x straight into registers, with the norm by shuffles and the weight before the wait, took 8.35 / 3.3 / 4.9 / 9.5 /
//   5.6; the six of a layer in a chain 35.2, and 38 in one persistent kernel with grid barriers. cluster_product.cu
//   came of that and takes these products where there are clusters; this file has not been timed since. Weights of 8
//   bits: 16 in a load, widened to float32 in registers, x never rounded. Never timed; half the bytes in flight for as
//   many loads. Registers on 90a: 56 to 127; no spills.
#include "cuda/kernels/bytes.h"

namespace onehead::cuda {

namespace {

constexpr int threads = 128, warps = threads / 32;
constexpr int ahead = 4;  // loads of a lane on their way: 72 KB a multiprocessor, where published kernels want 16
/** Blocks of a multiprocessor at most. Chosen, not tuned on a card. */
constexpr int blocksPerMultiprocessor = 12;
/** Columns for each multiprocessor from which a warp takes two: four blocks a multiprocessor are left. Chosen, not
 * tuned on a card. */
constexpr int columnsForTwo = 32;

/** Where element k of a row of x lies in shared memory. */
template <int Vector>
__device__ inline int placeOf(int k, int depth) {
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

/** Brings x's rows, normed, into shared memory. */
template <int Rows, int Vector>
__device__ inline void prepareRows(const FewRowsArguments& m, float* x, float* scratch) {
  const int depth = int(m.depth), rows = int(m.rows);
  float sums[Rows] = {};
#pragma unroll
  for (int row = 0; row < Rows; ++row)
    for (int k = int(threadIdx.x); k < depth; k += threads) {
      const float value = row < rows ? loadAs(m.x, m.xType, int64_t(row) * depth + k) : 0.0f;
      x[row * depth + placeOf<Vector>(k, depth)] = value;
      sums[row] += value;
    }
  if (m.normWeight) {
    blockSums(sums, scratch);
    float means[Rows], squares[Rows] = {};
#pragma unroll
    for (int row = 0; row < Rows; ++row) {
      means[row] = sums[row] / float(depth);
      for (int k = int(threadIdx.x); k < depth; k += threads) {
        const float difference = x[row * depth + placeOf<Vector>(k, depth)] - means[row];
        squares[row] += difference * difference;
      }
    }
    blockSums(squares, scratch);
#pragma unroll
    for (int row = 0; row < Rows; ++row) {
      const float factor = rsqrtf(squares[row] / float(depth) + m.epsilon);
      for (int k = int(threadIdx.x); k < depth; k += threads) {
        float& value = x[row * depth + placeOf<Vector>(k, depth)];
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
  __device__ void load(const T* from) { raw = loadOnce16(from); }
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

  Chunk<T, Vector> next[Columns][ahead];
  auto fetch = [&](int64_t from, int chunk) {
#pragma unroll
    for (int u = 0; u < ahead; ++u)
#pragma unroll
      for (int c = 0; c < Columns; ++c) {
        const int64_t row = smaller<int64_t>(from + c, m.columns - 1);
        const int at = smaller(chunk + u * 32, chunks - 1);
        next[c][u].load(weight + row * depth + at * Vector);
      }
  };
  letNextKernelStart();
  if (m.weightChanges) waitForPreviousKernel();
  fetch(column, lane);
  waitForPreviousKernel();
  prepareRows<Rows, Vector>(m, x, x + Rows * depth);

  for (; column < m.columns; column += step) {
    float sums[Columns][Rows] = {};
    for (int chunk = lane; chunk < chunks; chunk += 32 * ahead) {
      Chunk<T, Vector> now[Columns][ahead];
#pragma unroll
      for (int u = 0; u < ahead; ++u)
#pragma unroll
        for (int c = 0; c < Columns; ++c) now[c][u] = next[c][u];
      const bool more = chunk + 32 * ahead < chunks;
      if (more || column + step < m.columns) fetch(more ? column : column + step, more ? chunk + 32 * ahead : lane);
#pragma unroll
      for (int u = 0; u < ahead; ++u) {
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
          now[c][u].values(right);
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
        if (lane != row || row >= m.rows || column + c >= m.columns) continue;  // a lane a row stores
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
  const int64_t blocks = smaller<int64_t>(divideUp<int64_t>(m.columns, warps * Columns),
                                          launcher.multiprocessors * blocksPerMultiprocessor);
  return launch(launcher, matvecKernel<T, Rows, Columns, Vector>, dim3(unsigned(blocks)), dim3(threads),
                sharedBytes(Rows, m.depth), m);
}

template <class T, int Rows>
cudaError_t runRows(const FewRowsArguments& m, const Launcher& launcher) {
  const bool aligned = m.depth % vectorSize<T> == 0 && aligned16(m.weight);
  if (!aligned) return run<T, Rows, 1, 1>(m, launcher);
  // Two columns a warp read x half as often; one column a warp spreads few columns more evenly.
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
  // Sums are float32 whatever the weights are: those of 8 bits need no other type.
  return m.epilogue.columnScales ? start(int8_t{}) : withType(m.weightType, start);
}

}  // namespace onehead::cuda
