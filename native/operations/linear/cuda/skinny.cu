// Products of 5 to 64 rows (a decode step of many sequences) on GPUs without clusters, which use cluster_product.cu.
// Reading the weight is the bound, so it is read once.
//
// Shapes   x [rows, depth], weight [columns, depth] -> y [rows, columns]
// Launch   blocks of 8 warps for 16, 32 or 64 columns; shared memory: 4 KB of partial sums per 8 rows
// Bytes    columns x depth of weights; every block reads x, from the L2 cache
// Method   The weight's rows are the rows of the MMA, the rows of x its columns (8 at a time), so that few rows waste
//          little. Each thread loads 16 bytes of a weight row into registers. The fragment layout is not 16 contiguous
//          bytes, but the order of depths in a sum is arbitrary: x is loaded with the same permutation, and no element
//          passes through shared memory. The depth is split over the block's warps, which add their sums at the end.
// int8     16 bytes of a weight's row are the operands of four MMAs, widened in registers; x at the same 16 depths.
//
// History
//   Measured on an H200 at commit 1dabc91, preceded by layer_norm.cu if there is a norm (turbo's shapes, float16,
//   microseconds at batch 8 / 32): query/key/value 14.4 / 17.1, out 3.8 / 6.0, cross query 13.6 / 16.8, up 16.8 / 19.7,
//   down 10.3 / 13.7 (80 blocks: 12% occupancy), logits 53.5 / 75.8. cluster_product.cu replaces this kernel where
//   there are clusters; not measured since. int8 weights: never measured. Registers for 90a: 90 to 192 for half types;
//   no spills.
#include "cuda/kernels/bytes.h"
#include "cuda/kernels/tensor_core.h"

namespace onehead::cuda {

namespace {

constexpr int warps = 8;
/** Groups of 16 columns per multiprocessor from which a block computes four, or two, of them: x is then read less
 * often, and the GPU is still filled twice. Not tuned on a GPU. */
constexpr int groupsForFour = 8, groupsForTwo = 2;
constexpr int stepsInFlight = 4;  // steps whose weights are in flight: with the current four steps 8 KB per warp

/** The operands of one or two MMAs in 16 bytes. */
template <class T>
struct Operands {
  static constexpr int products = std::is_same_v<T, float> ? 1 : 2;
  __device__ static Pair<T> at(const uint4& raw, int i) {
    if constexpr (std::is_same_v<T, float>)
      return i == 0 ? make_float2(__int_as_float(int(raw.x)), __int_as_float(int(raw.y)))
                    : make_float2(__int_as_float(int(raw.z)), __int_as_float(int(raw.w)));
    else
      return i == 0 ? raw.x : i == 1 ? raw.y : i == 2 ? raw.z : raw.w;
  }
};

/** Operands from 16 bytes of weights of type W: `part` numbers the MMAs. */
template <class T, class W>
struct WeightOperands {
  static constexpr int vectors = vectorSize<W> / vectorSize<T>;  // 16-byte vectors of x for as many elements
  __device__ static void weights(Pair<T> (&a)[4], const uint4& top, const uint4& bottom, int part) {
    if constexpr (std::is_same_v<W, int8_t>) {
      const uint32_t tops[4] = {top.x, top.y, top.z, top.w}, bottoms[4] = {bottom.x, bottom.y, bottom.z, bottom.w};
      widenBytes<T>(tops[part], a[0], a[2]);
      widenBytes<T>(bottoms[part], a[1], a[3]);
    } else {
      a[0] = Operands<T>::at(top, 2 * part), a[1] = Operands<T>::at(bottom, 2 * part);
      a[2] = Operands<T>::at(top, 2 * part + 1), a[3] = Operands<T>::at(bottom, 2 * part + 1);
    }
  }
};

template <class T, class W, int NTiles, int RowGroups>
__global__ void __launch_bounds__(warps * 32) skinnyKernel(const __grid_constant__ SkinnyArguments s) {
  using S = WeightOperands<T, W>;
  constexpr int vector = vectorSize<W>, stepDepth = 4 * vector, splits = warps / RowGroups;
  ONEHEAD_SHARED(float, partial);  // [warps][NTiles * 4][32]
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32, group = lane / 4, quad = lane % 4;
  const int split = warp / RowGroups;
  const int64_t column0 = (int64_t(blockIdx.x) * RowGroups + warp % RowGroups) * 16;
  const W* weight = static_cast<const W*>(s.weight) + quad * vector;
  const W* top = weight + min(column0 + group, s.columns - 1) * s.depth;
  const W* bottom = weight + min(column0 + group + 8, s.columns - 1) * s.depth;
  const int steps = int(s.depth / stepDepth), begin = steps * split / splits, end = steps * (split + 1) / splits;

  uint4 nextTop[stepsInFlight], nextBottom[stepsInFlight];
  auto fetch = [&](int step) {
#pragma unroll
    for (int u = 0; u < stepsInFlight; ++u) {
      const int64_t at = int64_t(min(step + u, steps - 1)) * stepDepth;
      nextTop[u] = loadConstant16(top + at);
      nextBottom[u] = loadConstant16(bottom + at);
    }
  };
  letNextKernelStart();
  if (s.weightChanges) waitForPreviousKernel();
  fetch(begin);
  waitForPreviousKernel();

  const T* x[NTiles];
#pragma unroll
  for (int n = 0; n < NTiles; ++n)
    x[n] = static_cast<const T*>(s.x) + min<int64_t>(n * 8 + group, s.rows - 1) * s.depth + quad * vector;
  float sums[NTiles][4] = {};
  for (int step = begin; step < end; step += stepsInFlight) {
    uint4 currentTop[stepsInFlight], currentBottom[stepsInFlight];
#pragma unroll
    for (int u = 0; u < stepsInFlight; ++u) {
      currentTop[u] = nextTop[u];
      currentBottom[u] = nextBottom[u];
    }
    if (step + stepsInFlight < end) fetch(step + stepsInFlight);
#pragma unroll
    for (int u = 0; u < stepsInFlight; ++u) {
      if (step + u >= end) break;
#pragma unroll
      for (int v = 0; v < S::vectors; ++v) {
        uint4 right[NTiles];
#pragma unroll
        for (int n = 0; n < NTiles; ++n)
          right[n] = *reinterpret_cast<const uint4*>(x[n] + int64_t(step + u) * stepDepth + v * vectorSize<T>);
#pragma unroll
        for (int part = 0; part < Operands<T>::products; ++part) {
          Pair<T> a[4];
          S::weights(a, currentTop[u], currentBottom[u], v * Operands<T>::products + part);
#pragma unroll
          for (int n = 0; n < NTiles; ++n) {
            const Pair<T> b[2] = {Operands<T>::at(right[n], 2 * part), Operands<T>::at(right[n], 2 * part + 1)};
            multiply<T>(sums[n], a, b);
          }
        }
      }
    }
  }

#pragma unroll
  for (int n = 0; n < NTiles; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) partial[(warp * NTiles * 4 + n * 4 + i) * 32 + lane] = sums[n][i];
  __syncthreads();
  // Threads reduce over the warps: each warp takes one (n, i) of a row group at a time, for all lanes.
  for (int job = warp; job < RowGroups * NTiles * 4; job += warps) {
    const int rowGroup = job / (NTiles * 4), n = job / 4 % NTiles, i = job % 4;
    float value = 0;
#pragma unroll
    for (int other = 0; other < splits; ++other)
      value += partial[((other * RowGroups + rowGroup) * NTiles * 4 + n * 4 + i) * 32 + lane];
    const int64_t column = (int64_t(blockIdx.x) * RowGroups + rowGroup) * 16 + group + i / 2 * 8;
    const int64_t row = n * 8 + quad * 2 + i % 2;
    if (column >= s.columns || row >= s.rows) continue;
    const Epilogue& e = s.epilogue;
    value *= e.scale;
    if (e.columnScales) value *= e.columnScales[column];
    if (e.bias) value += e.bias[column];
    value = activate(value, e.activation);
    if (e.residual) value += e.residual[row % e.residualRows * s.columns + column];
    storeAs(s.y, s.yType, row * s.columns + column, value);
  }
}

template <class T, class W, int NTiles, int RowGroups>
cudaError_t run(const SkinnyArguments& s, const Launcher& launcher) {
  const dim3 grid(unsigned(divideUp<int64_t>(s.columns, 16 * RowGroups)));
  return launch(launcher, skinnyKernel<T, W, NTiles, RowGroups>, grid, dim3(warps * 32),
                size_t(warps) * 32 * NTiles * 4 * sizeof(float), s);
}

template <class T, class W, int NTiles>
cudaError_t runGroups(const SkinnyArguments& s, const Launcher& launcher) {
  // More columns per block read x less often; fewer fill the GPU.
  const int64_t groups = divideUp<int64_t>(s.columns, 16);
  if (groups >= groupsForFour * launcher.multiprocessors) return run<T, W, NTiles, 4>(s, launcher);
  return groups >= groupsForTwo * launcher.multiprocessors ? run<T, W, NTiles, 2>(s, launcher)
                                                           : run<T, W, NTiles, 1>(s, launcher);
}

}  // namespace

bool skinnyFits(const SkinnyArguments& s) {
  const int64_t stepDepth = s.epilogue.columnScales ? 64 : 64 / int64_t(bytesOf(s.type));
  return s.rows <= skinnyRows && s.depth % stepDepth == 0 && aligned16(s.x) && aligned16(s.weight);
}

cudaError_t skinny(const SkinnyArguments& s, const Launcher& launcher) {
  return withType(s.type, [&](auto element) {
    using T = decltype(element);
    auto start = [&](auto stored) {
      using W = decltype(stored);
      if (s.rows <= 8) return runGroups<T, W, 1>(s, launcher);
      if (s.rows <= 16) return runGroups<T, W, 2>(s, launcher);
      return s.rows <= 32 ? runGroups<T, W, 4>(s, launcher) : runGroups<T, W, 8>(s, launcher);
    };
    return s.epilogue.columnScales ? start(int8_t{}) : start(element);
  });
}

}  // namespace onehead::cuda
