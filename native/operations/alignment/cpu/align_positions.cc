// The time of each position of a text: see AlignPositions in operations/alignment/operation.h.
//
// Softmax, standardization and median filter process one sequence at a time with all threads. Then each thread computes
// the time warping of whole sequences, since every cell of that table depends on its neighbours.
#include "cpu/kernels/family.h"
#include "cpu/kernels/math.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int maxWidth = 31;

/** Scratch memory, in bytes: the weights of one sequence, a row and costs for each thread, and all matrices and traces.
 * `stride`: floats of a row of keys. */
struct Layout {
  int64_t stride, threadRows, matrices, traces, all;

  Layout(const AlignPositionsArguments& a, int threads) {
    stride = roundUp(a.keys + 2 * maxWidth, 16);
    threadRows = roundUp(a.heads * a.positions * stride * 4, 64);
    matrices = threadRows + threads * 2 * stride * 4;
    traces = matrices + a.sequences * a.positions * stride * 4;
    all = traces + roundUp(a.sequences * a.positions * stride, 64) + 64;
  }
};

enum Step : uint8_t { both, position, key };

class Aligner {
 public:
  Aligner(const AlignPositionsArguments& arguments, const Team& team)
      : a_(arguments), team_(team), layout_(arguments, team.threads) {
    base_ = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(a_.scratch) + 63) & ~uintptr_t(63));
  }

  void run() const {
    for (int64_t s = 0; s < a_.sequences; ++s) {
      const Counted counted(a_, s);
      softmax(s, counted);
      team_.barrier();
      standardize(counted);
      team_.barrier();
      filter(s, counted);
      team_.barrier();
    }
    for (int64_t s = team_.thread; s < a_.sequences; s += team_.threads) warp(s, Counted(a_, s));
  }

 private:
  /** The positions and keys of one sequence that are aligned. */
  struct Counted {
    int64_t begin, positions, keys;

    Counted(const AlignPositionsArguments& a, int64_t s) {
      begin = max(a.begin[s], 0);
      positions = max(min(a.end[s], a.positions) - begin, 0);
      keys = min(a.frames[s], a.keys);
      if (keys <= 0) positions = 0;
    }
  };

  float* weights(int64_t head, int64_t i) const {
    return reinterpret_cast<float*>(base_) + (head * a_.positions + i) * layout_.stride;
  }
  float* threadScratch() const {
    return reinterpret_cast<float*>(base_ + layout_.threadRows) + team_.thread * 2 * layout_.stride;
  }
  float* matrix(int64_t s, int64_t i) const {
    return reinterpret_cast<float*>(base_ + layout_.matrices) + (s * a_.positions + i) * layout_.stride;
  }
  uint8_t* trace(int64_t s, int64_t i) const {
    return reinterpret_cast<uint8_t*>(base_ + layout_.traces) + (s * a_.positions + i) * layout_.stride;
  }

  void softmax(int64_t s, const Counted& counted) const {
    const Share share(a_.heads * counted.positions, team_);
    for (int64_t unit = share.begin; unit < share.end; ++unit) {
      const int64_t head = unit / counted.positions, i = unit % counted.positions, index = counted.begin + i;
      int64_t row = a_.source[s * a_.positions + index];
      if (row < 0 || row >= a_.rows) row = 0;
      const float* from = a_.scores + ((row * a_.positions + index) * a_.heads + head) * a_.keys;
      float* to = weights(head, i);
      float top = -infinity, total = 0;
      for (int64_t n = 0; n < counted.keys; ++n) top = from[n] > top ? from[n] : top;
      for (int64_t n = 0; n < counted.keys; n += vectorWidth) {
        const int64_t count = min(vectorWidth, counted.keys - n);
        const F weight = expNegative((count == vectorWidth ? load(from + n) : loadPart(from + n, count)) - splat(top));
        store(to + n, weight);
        for (int64_t j = 0; j < count; ++j) total += weight[j];
      }
      for (int64_t n = 0; n < counted.keys; n += vectorWidth) store(to + n, load(to + n) * splat(1 / total));
    }
  }

  void standardize(const Counted& counted) const {
    const int64_t steps = (counted.keys + vectorWidth - 1) / vectorWidth;
    const Share share(a_.heads * steps, team_);
    for (int64_t unit = share.begin; unit < share.end; ++unit) {
      const int64_t head = unit / steps, n = unit % steps * vectorWidth;
      const F each = splat(1.0f / float(counted.positions));
      F mean = {}, variance = {};
      for (int64_t i = 0; i < counted.positions; ++i) mean += load(weights(head, i) + n) * each;
      for (int64_t i = 0; i < counted.positions; ++i) {
        const F difference = load(weights(head, i) + n) - mean;
        variance += difference * difference * each;
      }
      F scale;
      for (int j = 0; j < vectorWidth; ++j) scale[j] = variance[j] > 0 ? 1 / __builtin_sqrtf(variance[j]) : 0;
      for (int64_t i = 0; i < counted.positions; ++i)
        store(weights(head, i) + n, (load(weights(head, i) + n) - mean) * scale);
    }
  }

  /** The mean over the heads of their filtered rows. */
  void filter(int64_t s, const Counted& counted) const {
    const int64_t pad = a_.medianWidth / 2;
    const bool filtered = pad > 0 && counted.keys > pad;
    const F each = splat(1.0f / float(a_.heads));
    const Share share(counted.positions, team_);
    for (int64_t i = share.begin; i < share.end; ++i) {
      float* to = matrix(s, i);
      for (int64_t n = 0; n < counted.keys; n += vectorWidth) store(to + n, F{});
      for (int64_t head = 0; head < a_.heads; ++head) {
        const float* row = weights(head, i);
        float* padded = threadScratch();
        if (filtered) {
          for (int64_t j = 0; j < pad; ++j) {
            padded[j] = row[pad - j];
            padded[pad + counted.keys + j] = row[counted.keys - 2 - j];
          }
          __builtin_memcpy(padded + pad, row, size_t(counted.keys) * sizeof(float));
        }
        for (int64_t n = 0; n < counted.keys; n += vectorWidth)
          store(to + n, load(to + n) + each * (filtered ? median(padded + n) : load(row + n)));
      }
    }
  }

  /** The median of medianWidth neighbours for vectorWidth elements at once, by a partial bubble sort. */
  F median(const float* from) const {
    const int width = int(a_.medianWidth);
    F values[maxWidth];
    for (int i = 0; i < width; ++i) values[i] = load(from + i);
    for (int last = width - 1; last >= width / 2; --last) {
      for (int i = 0; i < last; ++i) {
        const F low = values[i] < values[i + 1] ? values[i] : values[i + 1];
        const F high = values[i] < values[i + 1] ? values[i + 1] : values[i];
        values[i] = low;
        values[i + 1] = high;
      }
    }
    return values[width / 2];
  }

  void warp(int64_t s, const Counted& counted) const {
    if (counted.positions == 0) return;
    // Costs of the previous and of this position, with a column of infinity before the first key.
    float *previous = threadScratch(), *current = previous + layout_.stride;
    previous[0] = 0;
    for (int64_t n = 1; n <= counted.keys; ++n) previous[n] = infinity;
    for (int64_t i = 0; i < counted.positions; ++i) {
      const float* row = matrix(s, i);
      uint8_t* steps = trace(s, i);
      current[0] = infinity;
      for (int64_t n = 1; n <= counted.keys; ++n) {
        const float c0 = previous[n - 1], c1 = previous[n], c2 = current[n - 1];
        const Step step = c0 < c1 && c0 < c2 ? both : c1 < c0 && c1 < c2 ? position : key;
        current[n] = (step == both ? c0 : step == position ? c1 : c2) - row[n - 1];
        steps[n - 1] = step;
      }
      float* other = previous;
      previous = current;
      current = other;
    }
    int32_t* y = a_.y + s * a_.positions + counted.begin;
    int64_t i = counted.positions - 1, n = counted.keys - 1;
    while (i >= 0) {
      y[i] = int32_t(max(n, 0));
      const Step step = n < 0 ? position : i == 0 ? key : Step(trace(s, i)[n]);
      if (i == 0 && n <= 0) break;
      if (step != key) --i;
      if (step != position) --n;
    }
  }

  const AlignPositionsArguments& a_;
  const Team& team_;
  const Layout layout_;
  char* base_;
};

}  // namespace

size_t alignPositionsScratch(const AlignPositionsArguments& a, int threads) { return size_t(Layout(a, threads).all); }

void alignPositions(const AlignPositionsArguments& a, const Team& team) { Aligner(a, team).run(); }

}  // namespace onehead::cpu::ONEHEAD_ISA
