// y = activation(norm(x) w^T + bias) + residual for many rows in 16-bit integers, on CPUs with AVX2 or AVX-512 but
// without products of bfloat16. One instruction multiplies two integers in each lane and adds them: twice as many
// products as with float32. kernels/int16.h explains why sums do not overflow, and how exact they are.
//
// A thread owns a range of rows of x. A block of them is quantized, and then passes over all panels of w. `depthBlock`
// columns of a panel stay in the L1 cache meanwhile; sums of deeper products are kept between their blocks.
//
// History
//   Base's encoder with one thread of a Zen 5, CPU milliseconds (least of five, in turns on a busy machine), limited to
//   AVX2: 838 with oneDNN's float32 products and attention of floats, 601 with both in integers. Of a layer, products
//   take 54 (160 to 190 gigaoperations/s; the core multiplies 131 in float32, 237 as 16-bit integers), attention 34
//   instead of 45. depthBlock of 1,024 and 2,048 are as fast.
#include "cpu/kernels/int16.h"
#include "panels.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

// Rows of x and panels at once, so that all sums stay in registers.
constexpr int maxRows = vectorWidth == 16 ? 12 : vectorWidth == 8 ? 6 : 2;
constexpr int maxPanels = vectorWidth == 16 ? 2 : 1;
constexpr int64_t blockRows = 96;                // rows that pass over all panels together
constexpr int64_t depthBlock = 512 / maxPanels;  // elements

/** Pairs of elements, which are the words of a row. */
constexpr int64_t pairsOf(int64_t depth) { return (depth + 1) / 2; }

/** A thread's scratch memory. */
struct Block {
  int32_t* words;  // [blockRows, stride]: rows of x in pairs of int16
  float* scales;   // [blockRows]
  int32_t* sums;   // [blockRows, maxPanels, integerPanelRows]
  float* row;      // a row as float32
  int64_t stride;

  Block(const LinearArguments& a, int thread) : stride(roundUp(pairsOf(a.depth), 16)) {
    words = static_cast<int32_t*>(a.scratch) + thread * wordsOf(a);
    scales = reinterpret_cast<float*>(words + blockRows * stride);
    sums = reinterpret_cast<int32_t*>(scales + blockRows);
    row = reinterpret_cast<float*>(sums + blockRows * maxPanels * integerPanelRows);
  }
  static int64_t wordsOf(const LinearArguments& a) {
    return blockRows * (roundUp(pairsOf(a.depth), 16) + 1 + maxPanels * integerPanelRows) + roundUp(a.depth, 16);
  }
};

/** Quantizes rows from `first` on. */
void quantize(const LinearArguments& a, const Block& block, int64_t first, int64_t count) {
  for (int64_t r = 0; r < count; ++r) {
    int16_t* to = reinterpret_cast<int16_t*>(block.words + r * block.stride);
    block.scales[r] = quantizeRowInt16(floatRow(a, first + r, block.row), a.depth, to);
    if (a.depth % 2) to[a.depth] = 0;
  }
}

/** A product of some rows with some panels, of pairs [begin, end). */
struct Pass {
  const LinearArguments& a;
  const Block& block;
  int64_t first;  // the block's first row in y
  int64_t panel, begin, end;
};

template <int Count, int Panels>
inline void tile(const Pass& pass, int64_t at) {
  const LinearArguments& a = pass.a;
  const int64_t pairs = pairsOf(a.depth), stride = pass.block.stride;
  const int32_t* w = static_cast<const int32_t*>(a.w) + (pass.panel * pairs + pass.begin) * integerPanelRows;
  const int32_t* x = pass.block.words + at * stride + pass.begin;
  int32_t* kept = pass.block.sums + at * maxPanels * integerPanelRows;
  constexpr int keptStride = maxPanels * integerPanelRows;
  I sums[Count][Panels][panelVectors] = {};
  // Calls f(row, panel, vector, where its sums are kept); unrolled, so that sums are in registers.
  auto each = [&](auto f) __attribute__((always_inline)) {
    ONEHEAD_UNROLL(12)
    for (int r = 0; r < Count; ++r) {
      ONEHEAD_UNROLL(2)
      for (int p = 0; p < Panels; ++p) {
        ONEHEAD_UNROLL(4)
        for (int i = 0; i < panelVectors; ++i)
          f(r, p, i, kept + r * keptStride + p * integerPanelRows + i * vectorWidth);
      }
    }
  };
  if (pass.begin > 0) each([&](int r, int p, int i, const int32_t* from) { sums[r][p][i] = loadWords(from); });
  for (int64_t count = pass.end - pass.begin; count > 0; --count) {
    I weights[Panels][panelVectors];
    ONEHEAD_UNROLL(2)
    for (int p = 0; p < Panels; ++p) {
      ONEHEAD_UNROLL(4)
      for (int i = 0; i < panelVectors; ++i)
        weights[p][i] = loadWords(w + p * pairs * integerPanelRows + i * vectorWidth);
    }
    ONEHEAD_UNROLL(12)
    for (int r = 0; r < Count; ++r) {
      const I pair = splatInteger(x[r * stride]);
      ONEHEAD_UNROLL(2)
      for (int p = 0; p < Panels; ++p) {
        ONEHEAD_UNROLL(4)
        for (int i = 0; i < panelVectors; ++i) sums[r][p][i] = addPairs(sums[r][p][i], weights[p][i], pair);
      }
    }
    w += integerPanelRows;
    ++x;
  }
  if (pass.end < pairs) {
    return each([&](int r, int p, int i, int32_t* to) { storeWords(to, sums[r][p][i]); });
  }
  // As float32 in the same memory, from where the epilogue reads them in a loop.
  each([&](int r, int p, int i, int32_t* to) { storeWords(to, (I) __builtin_convertvector(sums[r][p][i], F)); });
  for (int r = 0; r < Count; ++r)
    for (int p = 0; p < Panels; ++p) {
      F values[panelVectors];
      for (int i = 0; i < panelVectors; ++i)
        values[i] = (F)loadWords(kept + r * keptStride + p * integerPanelRows + i * vectorWidth);
      storePanel(a, values, splat(pass.block.scales[at + r]), pass.first + at + r, pass.panel + p);
    }
}

/** Count rows at a time and the rest in smaller tiles. */
template <int Count, int Panels>
inline void tiles(const Pass& pass, int64_t at, int64_t rows) {
  for (; at + Count <= rows; at += Count) tile<Count, Panels>(pass, at);
  if constexpr (Count > 1)
    if (at < rows) tiles<Count / 2, Panels>(pass, at, rows);
}

template <int Panels>
void overDepth(const LinearArguments& a, const Block& block, int64_t first, int64_t rows, int64_t panel) {
  const int64_t pairs = pairsOf(a.depth);
  for (int64_t begin = 0; begin < pairs; begin += depthBlock / 2)
    tiles<maxRows, Panels>({a, block, first, panel, begin, min(begin + depthBlock / 2, pairs)}, 0, rows);
}

}  // namespace

float quantizeInt16(const float* x, int64_t count, int16_t* q) { return quantizeRowInt16(x, count, q); }

size_t linearInt16Scratch(const LinearArguments& a, int threads) {
  return size_t(threads * roundUp(Block::wordsOf(a), 16)) * sizeof(int32_t);
}

void linearInt16(const LinearArguments& a, const Team& team) {
  const int64_t panels = (a.columns + integerPanelRows - 1) / integerPanelRows;
  const Block block(a, team.thread);
  const Share share(a.rows, team);
  for (int64_t first = share.begin; first < share.end; first += blockRows) {
    const int64_t rows = min(blockRows, share.end - first);
    quantize(a, block, first, rows);
    int64_t panel = 0;
    if constexpr (maxPanels > 1)
      for (; panel + maxPanels <= panels; panel += maxPanels) overDepth<maxPanels>(a, block, first, rows, panel);
    for (; panel < panels; ++panel) overDepth<1>(a, block, first, rows, panel);
  }
}

}  // namespace onehead::cpu::ONEHEAD_ISA
