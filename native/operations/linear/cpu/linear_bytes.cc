// y = f(norm(x) w^T + bias) + residual with weights of 8 bits, for any number of rows.
//
// `Quantized`: each row of x becomes whole numbers of 8 bits under a scale of its own, and sums are exact. Otherwise
// weights are widened to float32 in registers, and x stays what it is: for one row reading w is the bound either way.
//
// Few rows: a thread owns a contiguous share of w's panels and reads each once. Many: it owns a share of the rows,
// whose quantized form stays in the second-level cache while the panels pass.
#include "cpu/kernels/bytes.h"
#include "cpu/kernels/family.h"
#include "cpu/kernels/math.h"
#include "cpu/kernels/norm.h"
#include "epilogue.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int64_t manyRows = 64;      // from here on rows are divided among the threads, not panels
constexpr int64_t blockRows = 96;     // rows that pass over all panels together
constexpr int64_t aheadBytes = 4096;  // of w between reading and prefetching
// Rows of x at once: the sums of so many rows and of one or two panels stay in registers.
constexpr int mostRows = vectorWidth == 16 ? 12 : vectorWidth == 8 ? 4 : 2;
constexpr int mostPanels = vectorWidth == 16 ? 2 : 1;

constexpr int64_t groupsOf(int64_t depth) { return (depth + 3) / 4; }

/** Rows of x in the form that the products take. */
struct Quantized {
  using Word = int32_t;
  static constexpr int64_t wordsOf(int64_t depth) { return groupsOf(depth) * Bytes::wordsPerGroup; }
};
struct Widened {
  using Word = float;
  static constexpr int64_t wordsOf(int64_t depth) { return groupsOf(depth) * 4; }
};

/** The prepared rows: `words` of each, and for Quantized its scale and the sum of its whole numbers. */
template <typename Kind>
struct Rows {
  typename Kind::Word* words;
  float* scales;
  int32_t* sums;
  int64_t stride;
};

/** Row `row` as float32, normalised where that is wanted; `into` has room for it. */
template <typename X>
const float* floatRow(const LinearArguments& a, int64_t row, float* into) {
  const X* x = static_cast<const X*>(a.x) + row * a.xStride;
  int64_t i = 0;
  if (a.normWeight) {
    const Moments moments = momentsOf(x, a.depth, a.epsilon);
    const F mean = splat(moments.mean), scale = splat(moments.scale);
    for (; i + vectorWidth <= a.depth; i += vectorWidth)
      store(into + i, (load(x + i) - mean) * scale * load(a.normWeight + i) + load(a.normBias + i));
    for (; i < a.depth; ++i) into[i] = (get(x + i) - moments.mean) * moments.scale * a.normWeight[i] + a.normBias[i];
    return into;
  }
  for (; i + vectorWidth <= a.depth; i += vectorWidth) store(into + i, load(x + i));
  for (; i < a.depth; ++i) into[i] = get(x + i);
  return into;
}

void prepareRow(const LinearArguments& a, const Rows<Quantized>& to, int64_t at, const float* x, int8_t* bytes) {
  to.scales[at] = quantizeRow<float>(x, a.depth, bytes);
  for (int64_t i = a.depth; i % 4 != 0; ++i) bytes[i] = 0;
  int32_t* words = to.words + at * to.stride;
  int32_t sum = 0;
  for (int64_t i = 0; i < a.depth; ++i) sum += bytes[i];
  for (int64_t g = 0; g < groupsOf(a.depth); ++g) Bytes::write(words + g * Bytes::wordsPerGroup, bytes + 4 * g);
  to.sums[at] = sum;
}
void prepareRow(const LinearArguments& a, const Rows<Widened>& to, int64_t at, const float* x, int8_t*) {
  float* words = to.words + at * to.stride;
  __builtin_memcpy(words, x, size_t(a.depth) * sizeof(float));
  for (int64_t i = a.depth; i % 4 != 0; ++i) words[i] = 0;
}

/** Rows [begin, end) of x to the places from `at` on; `own` holds one row as float32 and as bytes. */
template <typename Kind>
void prepare(const LinearArguments& a, const Rows<Kind>& to, int64_t begin, int64_t end, int64_t at, float* own) {
  int8_t* bytes = reinterpret_cast<int8_t*>(own + roundUp(a.depth, 16));
  for (int64_t row = begin; row < end; ++row, ++at)
    prepareRow(a, to, at, a.xType == DType::bfloat16 ? floatRow<Bf16>(a, row, own) : floatRow<float>(a, row, own),
               bytes);
}

/** bytePanel columns (or `count`) of one row. */
template <typename Y>
inline void finish(const LinearArguments& a, const F* values, int64_t row, int64_t column, int64_t count) {
  for (int i = 0; i * vectorWidth < count; ++i)
    finishVector<Y>(a, values[i], row, column + i * vectorWidth, smaller(vectorWidth, count - i * vectorWidth));
}

/** One row's values of one panel, times the weights' scales. */
inline void give(const LinearArguments& a, const F* sums, F factor, int64_t row, int64_t panel) {
  const int64_t column = panel * bytePanel, count = smaller(bytePanel, a.columns - column);
  F values[panelVectors];
  for (int i = 0; i < panelVectors; ++i) values[i] = sums[i] * factor * load(a.scales + column + i * vectorWidth);
  if (a.yType == DType::bfloat16) {
    finish<Bf16>(a, values, row, column, count);
  } else {
    finish<float>(a, values, row, column, count);
  }
}

/** Count rows from place `at` on, which are rows `row` ... of y, over Panels panels. */
template <int Count, int Panels, bool Ahead>
inline void tile(const LinearArguments& a, const Rows<Quantized>& x, int64_t at, int64_t row, int64_t panel) {
  // A single row waits for its own sums: four of them take turns.
  constexpr int turns = Count == 1 ? 4 : 1;
  const int64_t groups = groupsOf(a.depth);
  const int8_t* w = static_cast<const int8_t*>(a.w) + panel * groups * bytePanel * 4;
  const int32_t* words = x.words + at * x.stride;
  I sums[Count][Panels][panelVectors * turns] = {};
  for (int r = 0; r < Count; ++r)
    for (int p = 0; p < Panels; ++p)
      for (int i = 0; i < panelVectors; ++i) sums[r][p][i] = splatInteger(Bytes::shifted ? -128 * x.sums[at + r] : 0);
  auto line = [&](int64_t g, int turn) __attribute__((always_inline)) {
    Bytes::Stored stored[Panels][panelVectors];
    for (int p = 0; p < Panels; ++p) {
      const int8_t* from = w + (p * groups + g) * bytePanel * 4;
      if (Ahead) prefetch(from + (Panels > 1 ? (Panels - 1) * groups * 64 : 0) + aheadBytes);
      for (int i = 0; i < panelVectors; ++i) stored[p][i] = Bytes::read(from + i * vectorWidth * 4);
    }
    ONEHEAD_UNROLL(16)
    for (int r = 0; r < Count; ++r)
      for (int p = 0; p < Panels; ++p)
        for (int i = 0; i < panelVectors; ++i)
          sums[r][p][turn * panelVectors + i] = Bytes::step(
              stored[p][i], words + r * x.stride + g * Bytes::wordsPerGroup, sums[r][p][turn * panelVectors + i]);
  };
  int64_t g = 0;
  for (; g + turns <= groups; g += turns) {
    ONEHEAD_UNROLL(4)
    for (int turn = 0; turn < turns; ++turn) line(g + turn, turn);
  }
  for (; g < groups; ++g) line(g, 0);
  for (int r = 0; r < Count; ++r)
    for (int p = 0; p < Panels; ++p) {
      F values[panelVectors];
      for (int i = 0; i < panelVectors; ++i) {
        I sum = sums[r][p][i];
        for (int turn = 1; turn < turns; ++turn) sum += sums[r][p][turn * panelVectors + i];
        values[i] = __builtin_convertvector(sum, F);
      }
      give(a, values, splat(x.scales[at + r]), row + r, panel + p);
    }
}

template <int Count, int Panels, bool Ahead>
inline void tile(const LinearArguments& a, const Rows<Widened>& x, int64_t at, int64_t row, int64_t panel) {
  static_assert(Panels == 1);
  const int64_t groups = groupsOf(a.depth);
  const int8_t* w = static_cast<const int8_t*>(a.w) + panel * groups * bytePanel * 4;
  const float* words = x.words + at * x.stride;
  constexpr int turns = Count == 1 ? 4 : 1;
  F sums[Count][panelVectors * turns] = {};
  for (int64_t g = 0; g < groups; ++g) {
    if (Ahead) prefetch(w + g * bytePanel * 4 + aheadBytes);
    ONEHEAD_UNROLL(4)
    for (int i = 0; i < panelVectors; ++i) {
      I line;
      __builtin_memcpy(&line, w + g * bytePanel * 4 + i * vectorWidth * 4, sizeof line);
      const F widened[4] = {__builtin_convertvector(line << 24 >> 24, F), __builtin_convertvector(line << 16 >> 24, F),
                            __builtin_convertvector(line << 8 >> 24, F), __builtin_convertvector(line >> 24, F)};
      ONEHEAD_UNROLL(16)
      for (int r = 0; r < Count; ++r) {
        const float* four = words + r * x.stride + 4 * g;
        ONEHEAD_UNROLL(4)
        for (int k = 0; k < 4; ++k) {
          F& sum = sums[r][(turns == 4 ? k : 0) * panelVectors + i];
          sum = fused(widened[k], splat(four[k]), sum);
        }
      }
    }
  }
  for (int r = 0; r < Count; ++r) {
    F values[panelVectors];
    for (int i = 0; i < panelVectors; ++i) {
      values[i] = sums[r][i];
      for (int turn = 1; turn < turns; ++turn) values[i] += sums[r][turn * panelVectors + i];
    }
    give(a, values, splat(1.0f), row + r, panel);
  }
}

/** `count` rows over Panels panels, Count at a time and the rest in fewer. Only the first pass reads w from memory. */
template <typename Kind, int Count, int Panels>
inline void tiles(const LinearArguments& a, const Rows<Kind>& x, int64_t at, int64_t row, int64_t count, int64_t panel,
                  bool first) {
  for (; count >= Count; count -= Count, at += Count, row += Count) {
    if (first) {
      tile<Count, Panels, true>(a, x, at, row, panel);
    } else {
      tile<Count, Panels, false>(a, x, at, row, panel);
    }
    first = false;
  }
  if constexpr (Count > 1) {
    if (count > 0) tiles<Kind, (Count == 12 ? 8 : Count / 2), Panels>(a, x, at, row, count, panel, first);
  }
}

/** Panels [begin, end) for `count` prepared rows. */
template <typename Kind>
void overPanels(const LinearArguments& a, const Rows<Kind>& x, int64_t row, int64_t count, int64_t begin, int64_t end) {
  constexpr int panelsTogether = sizeof(Kind) && Kind::wordsOf(4) < 4 ? mostPanels : 1;
  int64_t panel = begin;
  if (panelsTogether > 1 && count >= 4)
    for (; panel + panelsTogether <= end; panel += panelsTogether)
      tiles<Kind, mostRows, panelsTogether>(a, x, 0, row, count, panel, true);
  for (; panel < end; ++panel) tiles<Kind, mostRows, 1>(a, x, 0, row, count, panel, true);
}

/** Where prepared rows lie, in 64-byte lines from the start of a buffer. */
template <typename Kind>
Rows<Kind> rowsIn(void* buffer, int64_t rows, int64_t depth) {
  Rows<Kind> result;
  result.stride = roundUp(Kind::wordsOf(depth), 16);
  result.words = static_cast<typename Kind::Word*>(buffer);
  result.scales = reinterpret_cast<float*>(result.words + rows * result.stride);
  result.sums = reinterpret_cast<int32_t*>(result.scales + roundUp(rows, 16));
  return result;
}
template <typename Kind>
static inline int64_t rowWords(int64_t rows, int64_t depth) {
  return rows * roundUp(Kind::wordsOf(depth), 16) + 2 * roundUp(rows, 16);
}
/** One row as float32, and as bytes. */
static inline int64_t ownWords(int64_t depth) { return roundUp(depth, 16) + roundUp(depth + 4, 64) / 4; }

template <typename Kind>
void linear(const LinearArguments& a, const Team& team) {
  const int64_t panels = (a.columns + bytePanel - 1) / bytePanel;
  float* scratch = static_cast<float*>(a.scratch);
  if (a.rows >= manyRows) {
    // Each thread's own: a block of rows.
    const int64_t each = rowWords<Kind>(blockRows, a.depth) + ownWords(a.depth);
    float* own = scratch + team.thread * each;
    const Rows<Kind> x = rowsIn<Kind>(own, blockRows, a.depth);
    const Share share(a.rows, team);
    for (int64_t row = share.begin; row < share.end; row += blockRows) {
      const int64_t count = smaller(blockRows, share.end - row);
      prepare(a, x, row, row + count, 0, own + rowWords<Kind>(blockRows, a.depth));
      overPanels(a, x, row, count, 0, panels);
    }
    return;
  }
  const Share share(panels, team);
  constexpr int64_t privateWords = 8192;
  const int64_t words = rowWords<Kind>(a.rows, a.depth);
  if (words + ownWords(a.depth) <= privateWords) {
    // Preparing a row or two is cheaper than waiting for another thread to do it.
    alignas(64) float own[privateWords];
    const Rows<Kind> x = rowsIn<Kind>(own, a.rows, a.depth);
    prepare(a, x, 0, a.rows, 0, own + words);
    return overPanels(a, x, 0, a.rows, share.begin, share.end);
  }
  const Rows<Kind> x = rowsIn<Kind>(scratch, a.rows, a.depth);
  const Share mine(a.rows, team);
  prepare(a, x, mine.begin, mine.end, mine.begin, scratch + words + team.thread * ownWords(a.depth));
  team.barrier();
  overPanels(a, x, 0, a.rows, share.begin, share.end);
}

}  // namespace

float quantizeRow(const float* x, int64_t count, int8_t* q) { return quantizeRow<float>(x, count, q); }

size_t linearBytesScratch(const LinearArguments& a, int threads) {
  const int64_t rows = a.rows, depth = a.depth;
  const int64_t few =
      larger(rowWords<Quantized>(smaller(rows, manyRows), depth), rowWords<Widened>(smaller(rows, manyRows), depth)) +
      threads * ownWords(depth);
  const int64_t many =
      threads * (larger(rowWords<Quantized>(blockRows, depth), rowWords<Widened>(blockRows, depth)) + ownWords(depth));
  return size_t(rows >= manyRows ? larger(few, many) : few) * sizeof(float);
}

void linearBytes(const LinearArguments& a, const Team& team) {
  if (a.quantized) return linear<Quantized>(a, team);
  linear<Widened>(a, team);
}

}  // namespace onehead::cpu::ONEHEAD_ISA
