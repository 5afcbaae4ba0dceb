// y = activation(norm(x) w^T + bias) + residual with int8 weights, for any number of rows.
//
// `Quantized`: each row of x becomes int8 with its own scale, and integer sums are exact. Otherwise (`Widened`) weights
// are widened to float32 in registers, and x is not rounded. For one row, reading w is the bound either way.
//
// Few rows: a thread owns a contiguous range of w's panels and reads each once. Many rows: it owns a range of rows,
// whose quantized form stays in the L2 cache while it passes over all panels. With AMX, four rows or more are
// multiplied in tiles (linear_bytes_tiles.h).
//
// History
//   Base with one thread, CPU milliseconds against bfloat16's (docs/performance.md): encoder 152 against 191, of which
//   products take 0.63 to 0.79 of bfloat16's time; a decode step 1.70 against 3.00 at batch 1, 6.04 against 8.55 at
//   batch 8. With `Widened` 330, 1.97 and 8.02: so it is used only if rows must not be rounded.
#include "cpu/kernels/bytes.h"
#include "cpu/kernels/family.h"
#include "cpu/kernels/math.h"
#include "linear_bytes_tiles.h"
#include "panels.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int64_t manyRows = 64;         // from this many rows on, threads divide rows instead of panels
constexpr int64_t blockRows = 96;        // rows that pass over all panels together
constexpr int64_t fewestTiledRows = 4;   // below, a tile would be mostly empty
constexpr int64_t prefetchBytes = 4096;  // prefetch distance in w
// Rows of x and panels at once, so that all sums stay in registers.
constexpr int maxRows = vectorWidth == 16 ? 12 : vectorWidth == 8 ? 4 : 2;
constexpr int maxPanels = vectorWidth == 16 ? 2 : 1;

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

/** Prepares rows [begin, end) of x at index `at` and following. `rowScratch` is scratch for one row as float32 and as
 * int8. */
template <typename Kind>
void prepare(const LinearArguments& a, const Rows<Kind>& to, int64_t begin, int64_t end, int64_t at,
             float* rowScratch) {
  int8_t* bytes = reinterpret_cast<int8_t*>(rowScratch + roundUp(a.depth, 16));
  for (int64_t row = begin; row < end; ++row, ++at) prepareRow(a, to, at, floatRow(a, row, rowScratch), bytes);
}

/** Count rows by Panels panels: prepared rows from `at` on, which are rows `row` and following of y. */
template <int Count, int Panels, bool Ahead>
inline void tile(const LinearArguments& a, const Rows<Quantized>& x, int64_t at, int64_t row, int64_t panel) {
  // A single row would wait for its own sums: four accumulators take turns.
  constexpr int accumulators = Count == 1 ? 4 : 1;
  const int64_t groups = groupsOf(a.depth);
  const int8_t* w = static_cast<const int8_t*>(a.w) + panel * groups * integerPanelRows * 4;
  const int32_t* words = x.words + at * x.stride;
  I sums[Count][Panels][panelVectors * accumulators] = {};
  for (int r = 0; r < Count; ++r)
    for (int p = 0; p < Panels; ++p)
      for (int i = 0; i < panelVectors; ++i) sums[r][p][i] = splatInteger(Bytes::shifted ? -128 * x.sums[at + r] : 0);
  auto line = [&](int64_t g, int accumulator) __attribute__((always_inline)) {
    Bytes::Stored stored[Panels][panelVectors];
    for (int p = 0; p < Panels; ++p) {
      const int8_t* from = w + (p * groups + g) * integerPanelRows * 4;
      if (Ahead) prefetch(from + (Panels > 1 ? (Panels - 1) * groups * 64 : 0) + prefetchBytes);
      for (int i = 0; i < panelVectors; ++i) stored[p][i] = Bytes::read(from + i * vectorWidth * 4);
    }
    ONEHEAD_UNROLL(16)
    for (int r = 0; r < Count; ++r)
      for (int p = 0; p < Panels; ++p)
        for (int i = 0; i < panelVectors; ++i)
          sums[r][p][accumulator * panelVectors + i] =
              Bytes::step(stored[p][i], words + r * x.stride + g * Bytes::wordsPerGroup,
                          sums[r][p][accumulator * panelVectors + i]);
  };
  int64_t g = 0;
  for (; g + accumulators <= groups; g += accumulators) {
    ONEHEAD_UNROLL(4)
    for (int accumulator = 0; accumulator < accumulators; ++accumulator) line(g + accumulator, accumulator);
  }
  for (; g < groups; ++g) line(g, 0);
  for (int r = 0; r < Count; ++r)
    for (int p = 0; p < Panels; ++p) {
      F values[panelVectors];
      for (int i = 0; i < panelVectors; ++i) {
        I sum = sums[r][p][i];
        for (int accumulator = 1; accumulator < accumulators; ++accumulator)
          sum += sums[r][p][accumulator * panelVectors + i];
        values[i] = __builtin_convertvector(sum, F);
      }
      storePanel(a, values, splat(x.scales[at + r]), row + r, panel + p);
    }
}

template <int Count, int Panels, bool Ahead>
inline void tile(const LinearArguments& a, const Rows<Widened>& x, int64_t at, int64_t row, int64_t panel) {
  static_assert(Panels == 1);
  const int64_t groups = groupsOf(a.depth);
  const int8_t* w = static_cast<const int8_t*>(a.w) + panel * groups * integerPanelRows * 4;
  const float* words = x.words + at * x.stride;
  constexpr int accumulators = Count == 1 ? 4 : 1;
  F sums[Count][panelVectors * accumulators] = {};
  for (int64_t g = 0; g < groups; ++g) {
    if (Ahead) prefetch(w + g * integerPanelRows * 4 + prefetchBytes);
    ONEHEAD_UNROLL(4)
    for (int i = 0; i < panelVectors; ++i) {
      I line;
      __builtin_memcpy(&line, w + g * integerPanelRows * 4 + i * vectorWidth * 4, sizeof line);
      const F widened[4] = {__builtin_convertvector(line << 24 >> 24, F), __builtin_convertvector(line << 16 >> 24, F),
                            __builtin_convertvector(line << 8 >> 24, F), __builtin_convertvector(line >> 24, F)};
      ONEHEAD_UNROLL(16)
      for (int r = 0; r < Count; ++r) {
        const float* four = words + r * x.stride + 4 * g;
        ONEHEAD_UNROLL(4)
        for (int k = 0; k < 4; ++k) {
          F& sum = sums[r][(accumulators == 4 ? k : 0) * panelVectors + i];
          sum = fused(widened[k], splat(four[k]), sum);
        }
      }
    }
  }
  for (int r = 0; r < Count; ++r) {
    F values[panelVectors];
    for (int i = 0; i < panelVectors; ++i) {
      values[i] = sums[r][i];
      for (int accumulator = 1; accumulator < accumulators; ++accumulator)
        values[i] += sums[r][accumulator * panelVectors + i];
    }
    storePanel(a, values, splat(1.0f), row + r, panel);
  }
}

/** `count` rows by Panels panels, Count at a time and the rest in smaller tiles. Only the first tile reads w from
 * memory, so only it prefetches. */
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

/** `count` prepared rows by panels [begin, end). */
template <typename Kind>
void overPanels(const LinearArguments& a, const Rows<Kind>& x, int64_t row, int64_t count, int64_t begin, int64_t end) {
  constexpr int panelsPerTile = sizeof(Kind) && Kind::wordsOf(4) < 4 ? maxPanels : 1;
  int64_t panel = begin;
  if (panelsPerTile > 1 && count >= 4)
    for (; panel + panelsPerTile <= end; panel += panelsPerTile)
      tiles<Kind, maxRows, panelsPerTile>(a, x, 0, row, count, panel, true);
  for (; panel < end; ++panel) tiles<Kind, maxRows, 1>(a, x, 0, row, count, panel, true);
}

/** Scratch for one row as float32 and as int8, in words. */
static inline int64_t rowScratchWords(int64_t depth) { return roundUp(depth, 16) + roundUp(depth + 4, 64) / 4; }

template <typename Kind>
void linear(const LinearArguments& a, const Team& team) {
  const int64_t panels = (a.columns + integerPanelRows - 1) / integerPanelRows;
  float* scratch = static_cast<float*>(a.scratch);
  if (a.rows >= manyRows) {
    // Each thread prepares its own block of rows.
    const int64_t wordsPerThread = rowWords<Kind>(blockRows, a.depth) + rowScratchWords(a.depth);
    float* rowScratch = scratch + team.thread * wordsPerThread;
    const Rows<Kind> x = rowsIn<Kind>(rowScratch, blockRows, a.depth);
    const Share share(a.rows, team);
    for (int64_t row = share.begin; row < share.end; row += blockRows) {
      const int64_t count = min(blockRows, share.end - row);
      prepare(a, x, row, row + count, 0, rowScratch + rowWords<Kind>(blockRows, a.depth));
      overPanels(a, x, row, count, 0, panels);
    }
    return;
  }
  const Share share(panels, team);
  constexpr int64_t privateWords = 8192;
  const int64_t words = rowWords<Kind>(a.rows, a.depth);
  if (words + rowScratchWords(a.depth) <= privateWords) {
    // Preparing a row or two in every thread is cheaper than a barrier.
    alignas(64) float rowScratch[privateWords];
    const Rows<Kind> x = rowsIn<Kind>(rowScratch, a.rows, a.depth);
    prepare(a, x, 0, a.rows, 0, rowScratch + words);
    return overPanels(a, x, 0, a.rows, share.begin, share.end);
  }
  const Rows<Kind> x = rowsIn<Kind>(scratch, a.rows, a.depth);
  const Share ownRows(a.rows, team);
  prepare(a, x, ownRows.begin, ownRows.end, ownRows.begin, scratch + words + team.thread * rowScratchWords(a.depth));
  team.barrier();
  overPanels(a, x, 0, a.rows, share.begin, share.end);
}

}  // namespace

float quantizeRow(const float* x, int64_t count, int8_t* q) { return quantizeRow<float>(x, count, q); }

size_t linearBytesScratch(const LinearArguments& a, int threads) {
  const int64_t rows = a.rows, depth = a.depth;
  const int64_t few = max(rowWords<Tiled>(min(rows, manyRows), depth), rowWords<Widened>(min(rows, manyRows), depth)) +
                      threads * rowScratchWords(depth);
  const int64_t many =
      threads * (max(rowWords<Tiled>(blockRows, depth), rowWords<Widened>(blockRows, depth)) + rowScratchWords(depth));
  return size_t(rows >= manyRows ? max(few, many) : few) * sizeof(float);
}

void linearBytes(const LinearArguments& a, const Team& team) {
  if constexpr (multipliesTiles)
    if (a.quantized && a.rows >= fewestTiledRows) return linear<Tiled>(a, team);
  if (a.quantized) return linear<Quantized>(a, team);
  linear<Widened>(a, team);
}

}  // namespace onehead::cpu::ONEHEAD_ISA
