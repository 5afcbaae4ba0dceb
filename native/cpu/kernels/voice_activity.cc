// Silero's voice detector: for each frame of 512 samples, the spectrum of four overlapping parts, four convolutions, a
// recurrent cell (LSTM), and one probability.
//
// All but the cell's own state is computed for up to 24 frames at once, whosever they are: a convolution of three
// positions is a product whose rows are frames. Then the cell takes one frame after another, the recordings side by
// side. A frame is 0.35 million multiplications; alone, it is bound by reading 1 MB of weights from the cache.
#include "family.h"
#include "fft.h"
#include "math.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int64_t kContext = VoiceActivity::context, kFrame = VoiceActivity::frame, kCell = VoiceActivity::cells;
constexpr int64_t kPart = 256, kHop = 128, kParts = 4, kBins = kPart / 2 + 1, kTaps = 3;
constexpr int64_t kPanel = VoiceWeights::panel, kPanelVectors = kPanel / kWidth;
constexpr int64_t kBlock = VoiceActivity::block;
/** Rows and vectors of columns whose sums stay in registers. */
constexpr int kRows = 6, kVectors = kWidth == 16 ? 4 : 2;
/** Sums are of so many products at most before they are added up: the cell's state hangs on small differences. */
constexpr int64_t kTerms = 64;
/** From one part's spectrum to the next, so that rows are aligned. */
constexpr int64_t kSpectrum = VoiceActivity::spectrum;
static_assert(kWidth % kParts == 0);

/** y = x w + begin, rectified or not. x is `taps` runs of `depth` numbers; w is in panels, [taps, depth, 64] each. */
struct Product {
  int64_t rows, columns, taps, depth;
  const float* x;
  int64_t xStride, tapStride;
  const float* w;
  int64_t panelStride;
  const float* begin;
  int64_t beginStride;
  bool rectified;
  float* y;
  int64_t yStride;
};

template <int rows, int vectors>
inline void tile(const Product& p, int64_t row, int64_t column) {
  F totals[rows][vectors] = {};
  const float* w = p.w + column / kPanel * p.panelStride + column % kPanel;
  for (int64_t tap = 0; tap < p.taps; ++tap) {
    const float* x = p.x + row * p.xStride + tap * p.tapStride;
    for (int64_t begin = 0; begin < p.depth; begin += kTerms) {
      F sums[rows][vectors] = {};
      for (int64_t k = begin, end = least(begin + kTerms, p.depth); k < end; ++k, w += kPanel) {
        F weights[vectors];
        ONEHEAD_UNROLL(8)
        for (int v = 0; v < vectors; ++v)
          weights[v] = load(w + v / kPanelVectors * p.panelStride + v % kPanelVectors * kWidth);
        ONEHEAD_UNROLL(6)
        for (int r = 0; r < rows; ++r) {
          const F value = splat(x[r * p.xStride + k]);
          ONEHEAD_UNROLL(8)
          for (int v = 0; v < vectors; ++v) sums[r][v] = fused(value, weights[v], sums[r][v]);
        }
      }
      for (int r = 0; r < rows; ++r)
        for (int v = 0; v < vectors; ++v) totals[r][v] += sums[r][v];
    }
  }
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < vectors; ++v) {
      const F total = totals[r][v] + load(p.begin + (row + r) * p.beginStride + column + v * kWidth);
      store(p.y + (row + r) * p.yStride + column + v * kWidth, p.rectified ? larger(total, F{}) : total);
    }
  }
}

template <int rows>
void rowsOf(const Product& p, int64_t row) {
  // With few rows more columns, so that enough sums are under way at once.
  constexpr int vectors = rows == 1 ? 8 : rows == 2 ? 4 : kVectors;
  int64_t column = 0;
  for (; column + vectors * kWidth <= p.columns; column += vectors * kWidth) tile<rows, vectors>(p, row, column);
  for (; column < p.columns; column += kVectors * kWidth) tile<rows, kVectors>(p, row, column);
}

void multiply(const Product& p) {
  int64_t row = 0;
  // A block of columns' weights serves all rows before the next block's are read.
  if (p.rows >= kRows) {
    for (int64_t column = 0; column < p.columns; column += kVectors * kWidth)
      for (row = 0; row + kRows <= p.rows; row += kRows) tile<kRows, kVectors>(p, row, column);
  }
  switch (p.rows - row) {
    case 1:
      return rowsOf<1>(p, row);
    case 2:
      return rowsOf<2>(p, row);
    case 3:
      return rowsOf<3>(p, row);
    case 4:
      return rowsOf<4>(p, row);
    case 5:
      return rowsOf<5>(p, row);
  }
}

F squareRoot(F x) {
#if defined(__AVX512F__)
  return (F)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__)
  return (F)_mm256_sqrt_ps((__m256)x);
#else
  for (int i = 0; i < kWidth; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

/** 1 / (1 + e^-x), and tanh x, absolute error 2e-7. */
F sigmoid(F x) {
  const F e = expNegative(x < F{} ? x : -x);
  const F one = splat(1.0f), upper = one / (one + e);
  return x < F{} ? e * upper : upper;
}
F hyperbolicTangent(F x) {
  const F one = splat(1.0f), e = expNegative(splat(-2.0f) * (x < F{} ? -x : x));
  const F size = (one - e) / (one + e);
  return x < F{} ? -size : size;
}

/** The scratch memory; its sizes are in VoiceActivity::scratchFloats. */
struct Scratch {
  float *gates, *spectra, *first, *second, *third, *fourth, *tails, *power, *a, *b;

  Scratch(const VoiceActivity& arguments) {
    float* at = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(arguments.scratch) + 63) & ~uintptr_t(63));
    const auto take = [&](int64_t floats) {
      float* taken = at;
      at += floats;
      return taken;
    };
    gates = take(arguments.sequences * kBlock * 4 * kCell);
    spectra = take(kBlock * kParts * kSpectrum);
    first = take(kBlock * 4 * 128);
    second = take(kBlock * 2 * 64);
    third = take(kBlock * 64);
    fourth = take(kBlock * 128);
    tails = take(4 * kPart);
    power = take(roundUp(kBins, 16) * 16);
    a = take(kPart * 16);
    b = take(kPart * 16);
  }
};

/** Amplitudes of the spectra of the four parts of each frame: [frames, 4, kSpectrum]. A lane has one part of one frame.
 */
void spectra(const VoiceWeights& weights, const float* const* frames, int64_t count, const Scratch& scratch) {
  constexpr int64_t together = kWidth / kParts;
  const Roots roots = {weights.cosines, weights.sines, kPart};
  Complex* packed = reinterpret_cast<Complex*>(scratch.a);
  F* power = reinterpret_cast<F*>(scratch.power);
  for (int64_t frame = 0; frame < count; frame += together) {
    const float* parts[kWidth];
    for (int64_t i = 0; i < together; ++i) {
      const float* samples = frames[least(frame + i, count - 1)];
      float* tail = scratch.tails + i * kPart;  // behind the frame comes its mirror image
      constexpr int64_t begin = (kParts - 1) * kHop, length = kContext + kFrame;
      for (int64_t n = begin; n < length; ++n) tail[n - begin] = samples[n];
      for (int64_t n = length; n < begin + kPart; ++n) tail[n - begin] = samples[2 * (length - 1) - n];
      for (int64_t part = 0; part < kParts - 1; ++part) parts[i * kParts + part] = samples + part * kHop;
      parts[i * kParts + kParts - 1] = tail;
    }
    for (int64_t n = 0; n < kPart; n += kWidth) {
      F square[kWidth];
      const F window = load(weights.window + n);
      for (int lane = 0; lane < kWidth; ++lane) square[lane] = load(parts[lane] + n) * window;
      transposeSquare(square);
      for (int i = 0; i < kWidth; i += 2) packed[(n + i) / 2] = {square[i], square[i + 1]};
    }
    spectrumPower(packed, reinterpret_cast<Complex*>(scratch.b), kPart, roots, power);
    float* to = scratch.spectra + frame * kParts * kSpectrum;
    const int64_t lanes = least(kWidth, (count - frame) * kParts);
    for (int64_t k = 0; k + 1 < kBins; k += kWidth) {
      F square[kWidth];
      for (int i = 0; i < kWidth; ++i) square[i] = squareRoot(power[k + i]);
      transposeSquare(square);
      for (int64_t lane = 0; lane < lanes; ++lane) store(to + lane * kSpectrum + k, square[lane]);
    }
    const F last = squareRoot(power[kBins - 1]);
    for (int64_t lane = 0; lane < lanes; ++lane) to[lane * kSpectrum + kBins - 1] = last[lane];
  }
}

/** Of `length` positions of each frame with `inputs` channels, to `length` / `stride` positions. */
struct Convolution {
  int64_t length, inputs, inputStride, stride, outputs;
};
constexpr Convolution convolutions[] = {
    {kParts, kBins, kSpectrum, 1, 128}, {4, 128, 128, 2, 64}, {2, 64, 64, 2, 64}, {1, 64, 64, 1, 128}};

void convolve(const Convolution& c, const float* w, const float* bias, int64_t frames, const float* x, float* y) {
  const int64_t results = (c.length + c.stride - 1) / c.stride;
  for (int64_t result = 0; result < results; ++result) {
    // Of the three positions only those that exist.
    const int64_t from = result * c.stride - 1, first = most(0, -from), end = least(kTaps, c.length - from);
    multiply({frames, c.outputs, end - first, c.inputs, x + (from + first) * c.inputStride, c.length * c.inputStride,
              c.inputStride, w + first * c.inputs * kPanel, kTaps * c.inputs * kPanel, bias, 0, true,
              y + result * c.outputs, results * c.outputs});
  }
}

/** What goes into the cell's gates of each frame, but for its state. */
void encode(const VoiceWeights& weights, const float* const* frames, int64_t count, const Scratch& s, float* gates) {
  spectra(weights, frames, count, s);
  float* const layers[] = {s.spectra, s.first, s.second, s.third, s.fourth};
  for (int i = 0; i < 4; ++i)
    convolve(convolutions[i], weights.convolution[i], weights.bias[i], count, layers[i], layers[i + 1]);
  multiply({count, 4 * kCell, 1, kCell, s.fourth, kCell, 0, weights.input, kCell * kPanel, weights.gateBias, 0, false,
            gates, 4 * kCell});
}

/** The cell's next state of one recording, and the probability. */
float advance(const VoiceWeights& weights, const float* gates, float* hidden, float* cell) {
  F total = {};
  for (int64_t i = 0; i < kCell; i += kWidth) {
    const F input = sigmoid(load(gates + i)), forget = sigmoid(load(gates + kCell + i));
    const F candidate = hyperbolicTangent(load(gates + 2 * kCell + i)), out = sigmoid(load(gates + 3 * kCell + i));
    const F next = fused(forget, load(cell + i), input * candidate);
    const F state = out * hyperbolicTangent(next);
    store(cell + i, next);
    store(hidden + i, state);
    total = fused(larger(state, F{}), load(weights.output + i), total);
  }
  return sigmoid(splat(sum(total) + weights.outputBias))[0];
}

}  // namespace

void voiceActivity(const VoiceActivity& a) {
  const VoiceWeights& weights = *a.weights;
  const Scratch scratch(a);
  for (int64_t done = 0; done < a.frames[0]; done += kBlock) {
    const int64_t steps = least(kBlock, a.frames[0] - done);
    /** Recordings that have a frame at each step, and where its gates are. */
    int64_t present[kBlock], at[kBlock];
    const float* frames[kBlock];
    int64_t waiting = 0, encoded = 0;
    const auto flush = [&] {
      encode(weights, frames, waiting, scratch, scratch.gates + encoded * 4 * kCell);
      encoded += waiting;
      waiting = 0;
    };
    for (int64_t step = 0, from = a.sequences; step < steps; ++step) {
      while (a.frames[from - 1] <= done + step) --from;
      present[step] = from;
      at[step] = encoded + waiting;
      for (int64_t s = 0; s < from; ++s) {
        frames[waiting++] = a.samples[s] + (done + step) * kFrame;
        if (waiting == kBlock) flush();
      }
    }
    if (waiting > 0) flush();
    for (int64_t step = 0; step < steps; ++step) {
      float* gates = scratch.gates + at[step] * 4 * kCell;
      multiply({present[step], 4 * kCell, 1, kCell, a.hidden, kCell, 0, weights.hidden, kCell * kPanel, gates,
                4 * kCell, false, gates, 4 * kCell});
      for (int64_t s = 0; s < present[step]; ++s)
        a.probabilities[s][done + step] =
            advance(weights, gates + s * 4 * kCell, a.hidden + s * kCell, a.cell + s * kCell);
    }
  }
}

}  // namespace onehead::cpu::ONEHEAD_ISA
