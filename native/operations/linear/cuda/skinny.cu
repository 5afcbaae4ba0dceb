// Products of 5 to 64 rows (a decode step of many sequences) on GPUs without clusters (on others: cluster_product.cu):
// bound by reading the weight, so it is read once.
//
// Shapes   x [rows, depth], weight [columns, depth] -> y [rows, columns]
// Bytes    columns x depth weights; x is read by every block, from the second-level cache
// Method   the weight's rows are the matrix unit's rows, x's rows its columns (8 at a time), so that few rows waste
//          little. Every thread loads 16 bytes of a weight row straight into registers. The unit wants other places of
//          the depth in a thread than 16 neighbouring bytes are, but a sum may be taken in any order: x is loaded at
//          the same places, and no element passes through shared memory. The depth is split over the block's warps,
//          which add up their sums at the end.
// 8 bits   16 bytes of a weight's row are four products of pairs, widened in registers; x at the same 16 depths.
//
// History
//   H200, commit 1dabc91, behind layer_norm.cu where there is a norm, turbo's shapes, float16, microseconds at batch 8
//   / 32: query key value 14.4 / 17.1, out 3.8 / 6.0, cross query 13.6 / 16.8, up 16.8 / 19.7, down 10.3 / 13.7 (80
//   blocks: 12% of warps), logits 53.5 / 75.8. cluster_product.cu takes these where there are clusters; not timed
//   since. Weights of 8 bits: never timed. Registers on 90a: 95 to 192 for half types; no spills.
#include "cuda/kernels/bytes.h"
#include "cuda/kernels/tensor_core.h"

namespace onehead::cuda {

namespace {

constexpr int warps = 8;
/** Groups of 16 columns for each multiprocessor from which a block takes four of them, and two: a block's reads of x
 * are fewer then, and the device is still filled twice. Chosen, not tuned on a card. */
constexpr int groupsForFour = 8, groupsForTwo = 2;
constexpr int ahead = 4;  // steps whose weights are on their way: 8 KB a warp with the next four

/** The fragments of one or two products in 16 bytes. */
template <class T>
struct Quad {
  static constexpr int products = std::is_same_v<T, float> ? 1 : 2;
  __device__ static Pair<T> at(const uint4& raw, int i) {
    if constexpr (std::is_same_v<T, float>)
      return i == 0 ? make_float2(__int_as_float(int(raw.x)), __int_as_float(int(raw.y)))
                    : make_float2(__int_as_float(int(raw.z)), __int_as_float(int(raw.w)));
    else
      return i == 0 ? raw.x : i == 1 ? raw.y : i == 2 ? raw.z : raw.w;
  }
};

/** Products of 16 bytes of weights of type W: pairs `part` of the rows' halves, and of x at the same places. */
template <class T, class W>
struct Sixteen {
  static constexpr int vectors = vectorSize<W> / vectorSize<T>;  // of x, for as many elements
  __device__ static void weights(Pair<T> (&a)[4], const uint4& top, const uint4& bottom, int part) {
    if constexpr (std::is_same_v<W, int8_t>) {
      const uint32_t tops[4] = {top.x, top.y, top.z, top.w}, bottoms[4] = {bottom.x, bottom.y, bottom.z, bottom.w};
      widenBytes<T>(tops[part], a[0], a[2]);
      widenBytes<T>(bottoms[part], a[1], a[3]);
    } else {
      a[0] = Quad<T>::at(top, 2 * part), a[1] = Quad<T>::at(bottom, 2 * part);
      a[2] = Quad<T>::at(top, 2 * part + 1), a[3] = Quad<T>::at(bottom, 2 * part + 1);
    }
  }
};

template <class T, class W, int NTiles, int RowGroups>
__global__ void __launch_bounds__(warps * 32) skinnyKernel(const __grid_constant__ SkinnyArguments s) {
  using S = Sixteen<T, W>;
  constexpr int vector = vectorSize<W>, stepDepth = 4 * vector, splits = warps / RowGroups;
  ONEHEAD_SHARED(float, partial);  // [warps][NTiles * 4][32]
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32, group = lane / 4, quad = lane % 4;
  const int split = warp / RowGroups;
  const int64_t column0 = (int64_t(blockIdx.x) * RowGroups + warp % RowGroups) * 16;
  const W* weight = static_cast<const W*>(s.weight) + quad * vector;
  const W* top = weight + smaller(column0 + group, s.columns - 1) * s.depth;
  const W* bottom = weight + smaller(column0 + group + 8, s.columns - 1) * s.depth;
  const int steps = int(s.depth / stepDepth), begin = steps * split / splits, end = steps * (split + 1) / splits;

  uint4 nextTop[ahead], nextBottom[ahead];
  auto fetch = [&](int step) {
#pragma unroll
    for (int u = 0; u < ahead; ++u) {
      const int64_t at = int64_t(smaller(step + u, steps - 1)) * stepDepth;
      nextTop[u] = loadOnce16(top + at);
      nextBottom[u] = loadOnce16(bottom + at);
    }
  };
  letNextKernelStart();
  if (s.weightChanges) waitForPreviousKernel();
  fetch(begin);
  waitForPreviousKernel();

  const T* x[NTiles];
#pragma unroll
  for (int n = 0; n < NTiles; ++n)
    x[n] = static_cast<const T*>(s.x) + smaller<int64_t>(n * 8 + group, s.rows - 1) * s.depth + quad * vector;
  float sums[NTiles][4] = {};
  for (int step = begin; step < end; step += ahead) {
    uint4 nowTop[ahead], nowBottom[ahead];
#pragma unroll
    for (int u = 0; u < ahead; ++u) {
      nowTop[u] = nextTop[u];
      nowBottom[u] = nextBottom[u];
    }
    if (step + ahead < end) fetch(step + ahead);
#pragma unroll
    for (int u = 0; u < ahead; ++u) {
      if (step + u >= end) break;
#pragma unroll
      for (int v = 0; v < S::vectors; ++v) {
        uint4 right[NTiles];
#pragma unroll
        for (int n = 0; n < NTiles; ++n)
          right[n] = *reinterpret_cast<const uint4*>(x[n] + int64_t(step + u) * stepDepth + v * vectorSize<T>);
#pragma unroll
        for (int part = 0; part < Quad<T>::products; ++part) {
          Pair<T> a[4];
          S::weights(a, nowTop[u], nowBottom[u], v * Quad<T>::products + part);
#pragma unroll
          for (int n = 0; n < NTiles; ++n) {
            const Pair<T> b[2] = {Quad<T>::at(right[n], 2 * part), Quad<T>::at(right[n], 2 * part + 1)};
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
  // Every thread adds up some of the sums: one of a row group's (n, i) pairs at a time for all its lanes.
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
  // More weight rows a block read x less often; fewer fill the device.
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
