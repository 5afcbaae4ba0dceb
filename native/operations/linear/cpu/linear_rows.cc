// The product of a decode step, y = activation(norm(x) w^T + bias) + residual with few rows of x: reading w is the
// bound.
//
// A thread owns a contiguous range of w's rows and walks it in panels of panelRows rows, so that memory sees one
// stream. Rows of x are prepared once (normalized, in the form that the dot product takes) and stay in the L1 cache.
//
// History
//   One row of x, bandwidth relative to a plain loop of reads, while this kernel was written: w's rows strictly in
//   order 100%, four rows of w at once 85%.
//   Base with one thread, CPU milliseconds of a decode step in bfloat16 (docs/performance.md): 3.00 at batch 1, 8.55 at
//   batch 8; with int8 weights (linear_bytes.cc) 1.70 and 6.04.
#include "cpu/kernels/dot.h"
#include "cpu/kernels/family.h"
#include "cpu/kernels/math.h"
#include "cpu/kernels/norm.h"
#include "epilogue.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int chunkColumns = 64;                    // columns between two epilogues
constexpr int groupRows = 16;                       // rows of x that pass over a chunk of w together
constexpr int panelRows = 16;                       // rows of w that all rows of x pass over before the next are read
constexpr int maxRows = vectorWidth == 16 ? 8 : 2;  // rows of x at once: the sums stay in registers
// Up to this size every thread prepares all of x for itself, which is cheaper than a barrier.
constexpr int64_t privateBytes = 32 * 1024;
constexpr int64_t prefetchBytes = 4096;  // prefetch distance in w

template <typename T>
using Prepared = typename Dot<T>::Prepared;

/** sums[r][c] = x[r] . w[c], lanes not summed. With Ahead, as many cache lines are prefetched from `next` on. */
template <typename T, int Rows, int Columns, bool Ahead>
inline void dots(const T* w, const Prepared<T>* x, int64_t depth, int64_t xStride, const T* next,
                 F (&sums)[Rows][Columns]) {
  constexpr int stepSize = Dot<T>::stepSize;
  int64_t k = 0;
  for (; k + stepSize <= depth; k += stepSize) {
    ONEHEAD_UNROLL(8)
    for (int c = 0; c < Columns; ++c) {
      if (Ahead) prefetch(next + c * stepSize);
      const auto stored = Dot<T>::read(w + c * depth + k);
      ONEHEAD_UNROLL(8)
      for (int r = 0; r < Rows; ++r) sums[r][c] = Dot<T>::step(stored, x + r * xStride + k, sums[r][c]);
    }
    if (Ahead) next += Columns * stepSize;
  }
  if (k < depth) {
    for (int c = 0; c < Columns; ++c) {
      const auto stored = Dot<T>::readPart(w + c * depth + k, depth - k);
      for (int r = 0; r < Rows; ++r) sums[r][c] = Dot<T>::step(stored, x + r * xStride + k, sums[r][c]);
    }
  }
}

/** out[r * chunkColumns + c] = x[r] . w[c] for Rows rows and panelRows columns. Lanes are summed in squares of
 * vectorWidth vectors. */
template <typename T, int Rows, bool Ahead>
inline void panel(const T* w, const Prepared<T>* x, int64_t depth, int64_t xStride, float* out) {
  // A single row is bound by memory alone, which is fastest strictly in order (see History). With more rows of x,
  // several rows of w at once hide the latency of their loads.
  constexpr int columnsPerStep = Rows == 1 ? 1 : Rows == 8 ? 2 : 4;
  // The columns of a square.
  constexpr int squareColumns = Rows * columnsPerStep >= vectorWidth ? columnsPerStep : vectorWidth / Rows;
  const int64_t prefetchDistance = (Rows == 1 ? 0 : columnsPerStep * depth) + prefetchBytes / int64_t(sizeof(T));
  for (int c = 0; c < panelRows; c += squareColumns) {
    F all[Rows * squareColumns];
    for (int first = 0; first < squareColumns; first += columnsPerStep) {
      F sums[Rows][columnsPerStep] = {};
      const T* from = w + (c + first) * depth;
      dots<T, Rows, columnsPerStep, Ahead>(from, x, depth, xStride, from + prefetchDistance, sums);
      for (int r = 0; r < Rows; ++r)
        for (int i = 0; i < columnsPerStep; ++i) all[r * squareColumns + first + i] = sums[r][i];
    }
    float flat[Rows * squareColumns];
    for (int i = 0; i < Rows * squareColumns; i += vectorWidth) store(flat + i, sumRows(all + i));
    for (int r = 0; r < Rows; ++r)
      __builtin_memcpy(out + r * chunkColumns + c, flat + r * squareColumns, squareColumns * sizeof(float));
  }
}

template <typename T>
inline float oneDot(const T* w, const Prepared<T>* x, int64_t depth) {
  F sums[1][1] = {};
  dots<T, 1, 1, false>(w, x, depth, 0, nullptr, sums);
  return sum(sums[0][0]);
}

/** A panel for `rows` rows, Rows at a time and the rest by halves. Only the first pass reads w from memory, so only it
 * prefetches. */
template <typename T, int Rows>
inline void panelOfRows(const T* w, const Prepared<T>* x, int64_t rows, int64_t depth, int64_t xStride, bool first,
                        float* out) {
  int64_t r = 0;
  for (; r + Rows <= rows; r += Rows) {
    if (r == 0 && first) {
      panel<T, Rows, true>(w, x, depth, xStride, out);
    } else {
      panel<T, Rows, false>(w, x + r * xStride, depth, xStride, out + r * chunkColumns);
    }
  }
  if constexpr (Rows > 1) {
    if (r < rows)
      panelOfRows<T, Rows / 2>(w, x + r * xStride, rows - r, depth, xStride, first && r == 0, out + r * chunkColumns);
  }
}

/** Epilogue of one row's chunk. */
template <typename Y>
void finish(const LinearArguments& a, const float* sums, int64_t row, int64_t column, int64_t count) {
  for (int64_t c = 0; c < count; c += vectorWidth)
    finishVector<Y>(a, load(sums + c), row, column + c, min(vectorWidth, count - c));
}

template <typename T, typename X>
void prepare(const LinearArguments& a, Prepared<T>* prepared, int64_t stride, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const X* x = static_cast<const X*>(a.x) + row * a.xStride;
    Prepared<T>* to = prepared + row * stride;
    if (!a.normWeight) {
      prepareRow<T>(to, x, a.depth);
      continue;
    }
    const Moments moments = momentsOf(x, a.depth, a.epsilon);
    const F mean = splat(moments.mean), scale = splat(moments.scale);
    prepareRow<T>(
        to, a.depth,
        [&](int64_t i) { return (load(x + i) - mean) * scale * load(a.normWeight + i) + load(a.normBias + i); },
        [&](int64_t i) { return (get(x + i) - moments.mean) * moments.scale * a.normWeight[i] + a.normBias[i]; });
  }
}

template <typename T>
void product(const LinearArguments& a, const Prepared<T>* x, int64_t xStride, const Team& team) {
  const T* w = static_cast<const T*>(a.w);
  // Threads get whole cache lines of y, so that no two threads write to the same line.
  const Share lines((a.columns + 15) / 16, team);
  const int64_t end = min(lines.end * 16, a.columns);
  alignas(64) float sums[groupRows * chunkColumns];
  for (int64_t column = lines.begin * 16; column < end; column += chunkColumns) {
    const int64_t count = min(chunkColumns, end - column);
    for (int64_t row = 0; row < a.rows; row += groupRows) {
      const int64_t rows = min(groupRows, a.rows - row);
      const Prepared<T>* groupX = x + row * xStride;
      int64_t c = 0;
      for (; c + panelRows <= count; c += panelRows)
        panelOfRows<T, maxRows>(w + (column + c) * a.depth, groupX, rows, a.depth, xStride, true, sums + c);
      for (; c < count; ++c)
        for (int64_t r = 0; r < rows; ++r)
          sums[r * chunkColumns + c] = oneDot<T>(w + (column + c) * a.depth, groupX + r * xStride, a.depth);
      for (int64_t r = 0; r < rows; ++r) {
        if (a.yType == DType::bfloat16) {
          finish<Bf16>(a, sums + r * chunkColumns, row + r, column, count);
        } else {
          finish<float>(a, sums + r * chunkColumns, row + r, column, count);
        }
      }
    }
  }
}

template <typename T, typename X>
void linear(const LinearArguments& a, const Team& team) {
  const int64_t stride = roundUp(a.depth, 2 * vectorWidth);
  if (a.rows * stride * int64_t(sizeof(Prepared<T>)) <= privateBytes) {
    alignas(64) unsigned char rowScratch[privateBytes];
    Prepared<T>* x = reinterpret_cast<Prepared<T>*>(rowScratch);
    prepare<T, X>(a, x, stride, 0, a.rows);
    return product<T>(a, x, stride, team);
  }
  Prepared<T>* x = static_cast<Prepared<T>*>(a.scratch);
  const Share share(a.rows, team);
  prepare<T, X>(a, x, stride, share.begin, share.end);
  team.barrier();
  product<T>(a, x, stride, team);
}

}  // namespace

size_t linearRowsScratch(const LinearArguments& a, int) {
  return size_t(a.rows * roundUp(a.depth, 2 * vectorWidth)) * 4;
}

void linearRows(const LinearArguments& a, const Team& team) {
  const bool x16 = a.xType == DType::bfloat16;
  if (a.weightType == DType::bfloat16) return x16 ? linear<Bf16, Bf16>(a, team) : linear<Bf16, float>(a, team);
  return x16 ? linear<float, Bf16>(a, team) : linear<float, float>(a, team);
}

}  // namespace onehead::cpu::ONEHEAD_ISA
