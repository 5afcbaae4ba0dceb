// Kernels around int8 products. quantizeRows: normalizes rows and quantizes them, each with a scale (largest magnitude
// / 127), for rows of x, and for weights when a model is loaded. finishSums: the epilogue of 32-bit sums. widenRows: an
// int8 weight as floating type, for a product of cuBLASLt.
//
// Shapes   a row is a product's depth, 80 to 5,120 elements
// Launch   quantizeRows: one block of 128 threads per row; shared memory for reductions, and 512 bytes of counts if
//          `lost` is given. The others: up to 16 blocks per multiprocessor of 128 threads
// Bytes    each element is read once and written once; rows over 5,120 elements are read again
// Method   a block's row stays in registers while the norm and the largest magnitude are computed, with three block
//          reductions (mean, squares, extent). Rounding (nearest, ties to even) and scales are the CPU's, so that a
//          weight holds the same numbers on every device.
//
// History
//   Never measured. Predicted: norm and quantization of 1,500 x 1,280 4 us (7.7 MB read and 1.9 written take 2.5 at 3.9
//   TB/s; launch and three reductions 1.5), where layer_norm.cu takes 6.4 (measured); 1,500 x 5,120 float16 6.
#include "cuda/kernels/bytes.h"

namespace onehead::cuda {

namespace {

constexpr int threads = 128, warps = threads / 32;

/** Elements at ... at + 3; zeros from `end` on. */
__device__ inline float4 loadFour(const void* x, DType type, int64_t at, int64_t end, bool aligned) {
  if (aligned && at + 4 <= end) {
    if (type == DType::float32) return *reinterpret_cast<const float4*>(static_cast<const float*>(x) + at);
    const uint2 words = *reinterpret_cast<const uint2*>(static_cast<const uint16_t*>(x) + at);
    const bool half = type == DType::float16;
    const float2 low = half ? splitPair<float16>(words.x) : splitPair<bfloat16>(words.x);
    const float2 high = half ? splitPair<float16>(words.y) : splitPair<bfloat16>(words.y);
    return make_float4(low.x, low.y, high.x, high.y);
  }
  float four[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) four[i] = at + i < end ? loadAs(x, type, at + i) : 0.0f;
  return make_float4(four[0], four[1], four[2], four[3]);
}

/** Combined over the block; `scratch` holds two floats per warp. */
__device__ inline Extent blockExtent(const Extent& extent, float* scratch) {
  const int warp = int(threadIdx.x) / 32;
  const Extent part = warpExtent(extent);
  if (threadIdx.x % 32 == 0) {
    scratch[2 * warp] = part.largest;
    scratch[2 * warp + 1] = part.check;
  }
  __syncthreads();
  Extent combined;
  for (int i = 0; i < warps; ++i) {
    combined.largest = fmaxf(combined.largest, scratch[2 * i]);
    combined.check += scratch[2 * i + 1];
  }
  __syncthreads();
  return combined;
}

/** Rows of up to Fours x 512 elements stay in registers. With Fours = 0, rows of any length are read up to four times.
 * */
template <int Fours>
__global__ void __launch_bounds__(threads, 6) quantizeRowsKernel(const __grid_constant__ QuantizeRowsArguments q) {
  ONEHEAD_SHARED(float, scratch);  // two floats per warp, then counts
  letNextKernelStart();
  waitForPreviousKernel();
  const int64_t row = blockIdx.x, begin = row * q.width, end = begin + q.width;
  const int thread = int(threadIdx.x), fours = int(divideUp<int64_t>(q.width, 4));
  const bool aligned = q.width % 4 == 0;  // all rows, if x is
  float4 rowValues[Fours > 0 ? Fours : 1];
  if constexpr (Fours > 0)
#pragma unroll
    for (int i = 0; i < Fours; ++i)
      rowValues[i] = i * threads + thread < fours
                         ? loadFour(q.x, q.xType, begin + (i * threads + thread) * 4, end, aligned && q.aligned)
                         : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  /** Calls job(four, k) for this thread's float4, which begin at element k. */
  auto each = [&](auto job) {
    if constexpr (Fours > 0) {
#pragma unroll
      for (int i = 0; i < Fours; ++i)
        if (i * threads + thread < fours) job(rowValues[i], (i * threads + thread) * 4);
    } else {
      for (int four = thread; four < fours; four += threads) {
        float4 values = loadFour(q.x, q.xType, begin + four * 4, end, aligned && q.aligned);
        job(values, four * 4);
      }
    }
  };
  float mean = 0, factor = 1;
  const int width = int(q.width);
  if (q.normWeight) {
    float sum = 0, squares = 0;
    each([&](float4& x, int) { sum += (x.x + x.y) + (x.z + x.w); });
    mean = blockSum(sum, scratch) / float(width);
    each([&](float4& x, int k) {
      const float four[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (k + i < width) squares += (four[i] - mean) * (four[i] - mean);
    });
    factor = rsqrtf(blockSum(squares, scratch) / float(width) + q.epsilon);
  }
  auto normed = [&](const float4& x, int k) {
    if (!q.normWeight) return x;
    float four[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (int i = 0; i < 4; ++i)
      four[i] = k + i < width ? fmaf((four[i] - mean) * factor, q.normWeight[k + i], q.normBias[k + i]) : 0.0f;
    return make_float4(four[0], four[1], four[2], four[3]);
  };
  Extent extent;
  each([&](float4& x, int k) {
    const float4 y = normed(x, k);
    if constexpr (Fours > 0) x = y;
    extent.look(y.x), extent.look(y.y), extent.look(y.z), extent.look(y.w);
  });
  const RowScale scale = scaleOf(blockExtent(extent, scratch));
  if (thread == 0) q.scales[row] = scale.scale;
  each([&](float4& x, int k) {
    const float4 y = Fours > 0 ? x : normed(x, k);
    const int four[4] = {quantized(y.x, scale), quantized(y.y, scale), quantized(y.z, scale), quantized(y.w, scale)};
    int8_t* to = q.y + row * q.stride + k;
    if (q.stride % 4 == 0) {  // there is room for padding zeros
      *reinterpret_cast<uint32_t*>(to) = packBytes(four[0], four[1], four[2], four[3]);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (k + i < width) to[i] = int8_t(four[i]);
    }
  });
  for (int64_t k = fours * 4 + thread; k < q.stride; k += threads) q.y[row * q.stride + k] = 0;
  if (!q.lost) return;

  // The rounding error of a typical element, computed as on the CPU: from the median magnitude, by a histogram.
  int* counts = reinterpret_cast<int*>(scratch + 2 * warps);
  for (int i = thread; i < 128; i += threads) counts[i] = 0;
  __syncthreads();
  each([&](float4& x, int k) {
    const float4 y = Fours > 0 ? x : normed(x, k);
    const float four[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int rounded = k + i < width ? quantized(four[i], scale) : 0;
      if (k + i < width) atomicAdd(counts + (rounded < 0 ? -rounded : rounded), 1);
    }
  });
  __syncthreads();
  if (thread != 0) return;
  int median = 0;
  for (int below = counts[0]; 2 * below < width; below += counts[median]) ++median;
  q.lost[row] = scale.scale == 0 ? -1.0f : 0.288675f * 0.67449f / (float(median) + 0.5f);
}

__global__ void __launch_bounds__(threads) finishSumsKernel(const __grid_constant__ FinishSumsArguments f) {
  letNextKernelStart();
  waitForPreviousKernel();
  const Epilogue& e = f.epilogue;
  for (int64_t at = int64_t(blockIdx.x) * threads + threadIdx.x; at < f.rows * f.columns / 4;
       at += int64_t(gridDim.x) * threads) {
    const int64_t row = at * 4 / f.columns, column = at * 4 % f.columns;
    const uint4 raw = *reinterpret_cast<const uint4*>(f.sums + at * 4);
    const uint32_t sums[4] = {raw.x, raw.y, raw.z, raw.w};
    const float scale = e.scale * e.rowScales[row];
    const float* residual = e.residual ? e.residual + row % e.residualRows * f.columns + column : nullptr;
    float values[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      values[i] = float(int32_t(sums[i])) * scale * e.columnScales[column + i];
      if (e.bias) values[i] += e.bias[column + i];
      values[i] = activate(values[i], e.activation);
      if (residual) values[i] += residual[i];
    }
    storeFour(f.y, f.yType, at * 4, make_float4(values[0], values[1], values[2], values[3]));
  }
}

template <class T>
__global__ void __launch_bounds__(threads) widenRowsKernel(const __grid_constant__ WidenRowsArguments w) {
  letNextKernelStart();
  waitForPreviousKernel();
  T* y = static_cast<T*>(w.y);
  const bool vectorized = w.width % 8 == 0 && w.aligned;
  const int64_t step = int64_t(gridDim.x) * threads, first = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (vectorized) {
    for (int64_t at = first; at < w.rows * w.width / 8; at += step) {
      uint4 wide[8 / vectorSize<T>];
      widenScaled<T>(reinterpret_cast<const uint2*>(w.x)[at], w.scales[at * 8 / w.width], wide);
#pragma unroll
      for (int i = 0; i < 8 / vectorSize<T>; ++i) reinterpret_cast<uint4*>(y)[at * (8 / vectorSize<T>)+i] = wide[i];
    }
  } else {
    for (int64_t at = first; at < w.rows * w.width; at += step)
      y[at] = fromFloat<T>(float(w.x[at]) * w.scales[at / w.width]);
  }
}

unsigned blocksFor(int64_t work, const Launcher& launcher) {
  return unsigned(
      max<int64_t>(1, min<int64_t>(divideUp<int64_t>(work, threads), int64_t(launcher.multiprocessors) * 16)));
}

}  // namespace

cudaError_t quantizeRows(const QuantizeRowsArguments& q, const Launcher& launcher) {
  QuantizeRowsArguments here = q;
  here.aligned = aligned16(q.x);
  const size_t bytes = (2 * warps + (q.lost ? 128 : 0)) * sizeof(float);
  auto start = [&](auto kernel) {
    return launch(launcher, kernel, dim3(unsigned(q.rows)), dim3(threads), bytes, here);
  };
  if (q.width <= 3 * 512) return start(quantizeRowsKernel<3>);
  if (q.width <= 10 * 512) return start(quantizeRowsKernel<10>);
  return start(quantizeRowsKernel<0>);
}

cudaError_t finishSums(const FinishSumsArguments& f, const Launcher& launcher) {
  return launch(launcher, finishSumsKernel, dim3(blocksFor(f.rows * f.columns / 4, launcher)), dim3(threads), 0, f);
}

cudaError_t widenRows(const WidenRowsArguments& w, const Launcher& launcher) {
  WidenRowsArguments here = w;
  here.aligned = aligned16(w.x) && aligned16(w.y);
  return withType(w.yType, [&](auto element) {
    using T = decltype(element);
    return launch(launcher, widenRowsKernel<T>, dim3(blocksFor(w.rows * w.width / 8, launcher)), dim3(threads), 0,
                  here);
  });
}

}  // namespace onehead::cuda
