// Kernels that only move elements, each bound by the bytes it reads and writes once: embed, gatherRows, scatterRows,
// transposeCast, copyRows, copyBytes, permute, fillBytes, activateInPlace, and publish, which tells the host how far a
// program has come.
#include "cuda/kernels/numeric.h"

namespace onehead::cuda {

namespace {

constexpr int threads = 256;

unsigned blocksFor(int64_t elements, const Launcher& launcher) {
  return unsigned(
      most<int64_t>(1, least<int64_t>(divideUp<int64_t>(elements, threads), launcher.multiprocessors * 16)));
}
__device__ inline int64_t firstElement() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t elementStep() { return int64_t(gridDim.x) * blockDim.x; }

__global__ void embedKernel(const __grid_constant__ EmbedArguments e) {
  letNextStart();
  waitForPrevious();
  for (int64_t at = firstElement(); at < e.batch * e.count * e.width; at += elementStep()) {
    const int64_t row = at / e.width, column = at % e.width, b = stateRow(e, row / e.count);
    if (b < 0) {
      e.y[at] = 0;
      continue;
    }
    const int64_t from = e.start[b] + row % e.count;
    int64_t token = e.tokens[b * e.tokenStride + least(most<int64_t>(from, 0), e.tokenStride - 1)];
    if (token < 0 || token >= e.vocabulary) token = 0;
    const int64_t position = least(most<int64_t>(from, 0), e.positions - 1);
    const int64_t place = token * e.width + column;
    const float value = e.tokenScales
                            ? float(static_cast<const int8_t*>(e.tokenEmbedding)[place]) * e.tokenScales[token]
                            : loadAs(e.tokenEmbedding, e.tokenType, place);
    e.y[at] = value * e.scale + e.positionEmbedding[position * e.width + column];
  }
}

__global__ void gatherRowsKernel(const __grid_constant__ GatherRowsArguments g) {
  letNextStart();
  waitForPrevious();
  for (int64_t at = firstElement(); at < g.count * g.batch * g.width; at += elementStep()) {
    const int64_t row = at / g.width, b = row % g.batch;
    const int64_t from = least(most<int64_t>(g.index[row], 0), g.length - 1);
    g.y[at] = g.x[(b * g.length + from) * g.width + at % g.width];
  }
}

/** Elements of a size, widths and strides being counted in these; float: converted from one type to the other. */
template <class Element>
__global__ void scatterRowsKernel(const __grid_constant__ ScatterRowsArguments s) {
  letNextStart();
  waitForPrevious();
  for (int64_t at = firstElement(); at < s.batch * s.rows * s.width; at += elementStep()) {
    const int64_t row = at / s.width, column = at % s.width, begin = s.begin[row / s.rows], to = begin + row % s.rows;
    if (begin < 0 || to >= s.positions) continue;
    if constexpr (std::is_same_v<Element, float>)
      storeAs(s.y, s.yType, to * s.width + column, loadAs(s.x, s.xType, row * s.stride + column));
    else
      static_cast<Element*>(s.y)[to * s.width + column] = static_cast<const Element*>(s.x)[row * s.stride + column];
  }
}

constexpr int side = 32;

/** Squares of 32 x 32 through shared memory, so that reading and writing both take whole lines. */
__global__ void transposeCastKernel(const __grid_constant__ TransposeCastArguments t) {
  ONEHEAD_SHARED(float, square);  // [side][side + 1]
  letNextStart();
  waitForPrevious();
  const int64_t row0 = int64_t(blockIdx.y) * side, column0 = int64_t(blockIdx.x) * side, b = blockIdx.z;
  const int x = int(threadIdx.x) % side;
  for (int y = int(threadIdx.x) / side; y < side; y += threads / side)
    if (row0 + y < t.rows && column0 + x < t.columns)
      square[y * (side + 1) + x] = t.x[(b * t.rows + row0 + y) * t.columns + column0 + x];
  __syncthreads();
  for (int y = int(threadIdx.x) / side; y < side; y += threads / side)
    if (column0 + y < t.columns && row0 + x < t.rows)
      storeAs(t.y, t.yType, (b * t.columns + column0 + y) * t.rows + row0 + x, square[x * (side + 1) + y]);
}

__global__ void copyRowsKernel(const __grid_constant__ CopyRowsArguments c) {
  letNextStart();
  waitForPrevious();
  for (int64_t at = firstElement(); at < c.rows * c.width; at += elementStep()) {
    const int64_t row = at / c.width, column = at % c.width;
    int64_t to = offsetOf(c.yRows, row) + column;
    if (c.start) {
      const int64_t first = most(c.start[row / c.startInner], 0);
      if (first + row % c.startInner >= c.startRows) continue;
      to += first * c.startStride;
    }
    storeAs(c.y, c.yType, to, loadAs(c.x, c.xType, offsetOf(c.xRows, row) + column));
  }
}

template <class Element>
__global__ void permuteKernel(const __grid_constant__ PermuteArguments p) {
  letNextStart();
  waitForPrevious();
  const int64_t perOutput = p.channels * p.kernel;
  for (int64_t at = firstElement(); at < p.outputs * perOutput; at += elementStep()) {
    const int64_t output = at / perOutput, k = at % perOutput / p.channels, channel = at % p.channels;
    static_cast<Element*>(p.y)[at] = static_cast<const Element*>(p.x)[output * perOutput + channel * p.kernel + k];
  }
}

__global__ void copyBytesKernel(uint8_t* to, const uint8_t* from, size_t bytes, bool aligned) {
  letNextStart();
  waitForPrevious();
  const int64_t vectors = aligned ? int64_t(bytes / 16) : 0;
  for (int64_t at = firstElement(); at < vectors; at += elementStep())
    reinterpret_cast<uint4*>(to)[at] = reinterpret_cast<const uint4*>(from)[at];
  for (int64_t at = vectors * 16 + firstElement(); at < int64_t(bytes); at += elementStep()) to[at] = from[at];
}

__global__ void fillKernel(uint8_t* memory, size_t bytes, uint8_t value) {
  letNextStart();
  waitForPrevious();
  const uint32_t word = value * 0x01010101u;
  const int64_t words = int64_t(bytes / 4);
  for (int64_t at = firstElement(); at < words; at += elementStep()) reinterpret_cast<uint32_t*>(memory)[at] = word;
  if (firstElement() < int64_t(bytes % 4)) memory[words * 4 + firstElement()] = value;
}

template <class T>
__global__ void activateKernel(T* y, int64_t elements, Activation activation) {
  constexpr int vector = vectorSize<T>;
  letNextStart();
  waitForPrevious();
  const int64_t vectors = elements / vector;
  for (int64_t at = firstElement(); at < vectors; at += elementStep()) {
    float values[vector];
    auto* place = reinterpret_cast<uint4*>(y) + at;
    unpack<T>(*place, values);
#pragma unroll
    for (int i = 0; i < vector; ++i) values[i] = activate(values[i], activation);
    *place = pack<T>(values);
  }
  const int64_t rest = vectors * vector + firstElement();
  if (rest < elements) y[rest] = fromFloat<T>(activate(toFloat(y[rest]), activation));
}

/** One warp: the flags are few, a sequence each. */
__global__ void publishKernel(Progress* progress, const int32_t* flags, int64_t count, bool any) {
  letNextStart();
  waitForPrevious();
  float set = 0;
  for (int64_t i = threadIdx.x; i < count; i += 32) set += flags[i] == 0 ? 0.0f : 1.0f;
  set = warpSum(set);
  if (threadIdx.x != 0) return;
  const int64_t replays = progress->replays + 1;
  const int64_t ended = progress->endedAt;
  if (count > 0 && ended <= 0 && set >= float(any ? 1 - ended : count)) progress->endedAt = replays;
  __threadfence_system();  // whoever sees the new count sees this too
  progress->replays = replays;
  __threadfence_system();
}

}  // namespace

cudaError_t embed(const EmbedArguments& e, const Launcher& launcher) {
  return launch(launcher, embedKernel, dim3(blocksFor(e.batch * e.count * e.width, launcher)), dim3(threads), 0, e);
}

cudaError_t gatherRows(const GatherRowsArguments& g, const Launcher& launcher) {
  return launch(launcher, gatherRowsKernel, dim3(blocksFor(g.count * g.batch * g.width, launcher)), dim3(threads), 0,
                g);
}

cudaError_t scatterRows(const ScatterRowsArguments& s, const Launcher& launcher) {
  const int64_t bytes = int64_t(bytesOf(s.xType));
  auto start = [&](auto element, int64_t elementBytes) {
    ScatterRowsArguments counted = s;
    counted.width = s.width * bytes / elementBytes;
    counted.stride = s.stride * bytes / elementBytes;
    return launch(launcher, scatterRowsKernel<decltype(element)>,
                  dim3(blocksFor(s.batch * s.rows * counted.width, launcher)), dim3(threads), 0, counted);
  };
  if (s.xType != s.yType) return start(float{}, bytes);
  if (aligned16(s.x) && aligned16(s.y) && s.width * bytes % 16 == 0 && s.stride * bytes % 16 == 0)
    return start(uint4{}, 16);
  return bytes % 2 == 0 ? start(uint16_t{}, 2) : start(uint8_t{}, 1);
}

cudaError_t transposeCast(const TransposeCastArguments& t, const Launcher& launcher) {
  const dim3 grid(unsigned(divideUp<int64_t>(t.columns, side)), unsigned(divideUp<int64_t>(t.rows, side)),
                  unsigned(t.batch));
  return launch(launcher, transposeCastKernel, grid, dim3(threads), size_t(side) * (side + 1) * sizeof(float), t);
}

cudaError_t copyRows(const CopyRowsArguments& c, const Launcher& launcher) {
  return launch(launcher, copyRowsKernel, dim3(blocksFor(c.rows * c.width, launcher)), dim3(threads), 0, c);
}

cudaError_t permute(const PermuteArguments& p, const Launcher& launcher) {
  const dim3 blocks(blocksFor(p.outputs * p.channels * p.kernel, launcher));
  return p.elementBytes == 2 ? launch(launcher, permuteKernel<uint16_t>, blocks, dim3(threads), 0, p)
                             : launch(launcher, permuteKernel<uint32_t>, blocks, dim3(threads), 0, p);
}

cudaError_t copyBytes(void* to, const void* from, size_t bytes, const Launcher& launcher) {
  const bool aligned = aligned16(to) && aligned16(from);
  return launch(launcher, copyBytesKernel, dim3(blocksFor(int64_t(bytes / 16 + 1), launcher)), dim3(threads), 0,
                static_cast<uint8_t*>(to), static_cast<const uint8_t*>(from), bytes, aligned);
}

cudaError_t fillBytes(void* memory, size_t bytes, uint8_t value, const Launcher& launcher) {
  return launch(launcher, fillKernel, dim3(blocksFor(int64_t(bytes / 4 + 4), launcher)), dim3(threads), 0,
                static_cast<uint8_t*>(memory), bytes, value);
}

cudaError_t activateInPlace(void* y, DType type, int64_t elements, Activation activation, const Launcher& launcher) {
  return withType(type, [&](auto element) {
    using T = decltype(element);
    return launch(launcher, activateKernel<T>, dim3(blocksFor(elements / vectorSize<T> + 1, launcher)), dim3(threads),
                  0, static_cast<T*>(y), elements, activation);
  });
}

cudaError_t publish(Progress* progress, const int32_t* flags, int64_t count, bool any, const Launcher& launcher) {
  return launch(launcher, publishKernel, dim3(1), dim3(32), 0, progress, flags, count, any);
}

}  // namespace onehead::cuda
