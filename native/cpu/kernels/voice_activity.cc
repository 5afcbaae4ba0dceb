// Silero's voice detector: for each frame of 512 samples the spectra of four overlapping parts, four convolutions, a
// recurrent cell (LSTM), and one probability.
//
// Everything except the cell's recurrence is computed for up to 24 frames at once, of any recordings: a convolution
// over three positions is a product whose rows are frames. Then the cell processes one frame after another, all
// recordings together. A frame takes 0.35 million multiplications; alone, it is bound by reading 1 MB of weights from
// cache.
//
// History
//   When it replaced ONNX Runtime: a sixth of its time, with probabilities within 3e-5 of the original's.
#include "family.h"
#include "fft.h"
#include "math.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int64_t contextSamples = VoiceActivity::context, frameSamples = VoiceActivity::frame,
                  cellCount = VoiceActivity::cells;
constexpr int64_t partSamples = 256, hopSamples = 128, partCount = 4, binCount = partSamples / 2 + 1, tapCount = 3;
constexpr int64_t panelColumns = VoiceWeights::panel, panelVectors = panelColumns / vectorWidth;
constexpr int64_t blockFrames = VoiceActivity::block;
/** Rows and vectors of columns of a tile whose sums stay in registers. */
constexpr int tileRows = 6, tileVectors = vectorWidth == 16 ? 4 : 2;
/** The most products per partial sum: the cell's state is sensitive to rounding. */
constexpr int64_t maxTerms = 64;
/** Floats between two parts' spectra, so that rows are aligned. */
constexpr int64_t spectrumStride = VoiceActivity::spectrum;
static_assert(vectorWidth % partCount == 0);

/** y = x w + begin, optionally rectified. x is `taps` runs of `depth` numbers; w is in panels [taps, depth, 64]. */
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
  const float* w = p.w + column / panelColumns * p.panelStride + column % panelColumns;
  for (int64_t tap = 0; tap < p.taps; ++tap) {
    const float* x = p.x + row * p.xStride + tap * p.tapStride;
    for (int64_t begin = 0; begin < p.depth; begin += maxTerms) {
      F sums[rows][vectors] = {};
      for (int64_t k = begin, end = min(begin + maxTerms, p.depth); k < end; ++k, w += panelColumns) {
        F weights[vectors];
        ONEHEAD_UNROLL(8)
        for (int v = 0; v < vectors; ++v)
          weights[v] = load(w + v / panelVectors * p.panelStride + v % panelVectors * vectorWidth);
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
      const F total = totals[r][v] + load(p.begin + (row + r) * p.beginStride + column + v * vectorWidth);
      store(p.y + (row + r) * p.yStride + column + v * vectorWidth, p.rectified ? max(total, F{}) : total);
    }
  }
}

template <int rows>
void rowsOf(const Product& p, int64_t row) {
  // With few rows, more columns, so that there are enough independent sums.
  constexpr int vectors = rows == 1 ? 8 : rows == 2 ? 4 : tileVectors;
  int64_t column = 0;
  for (; column + vectors * vectorWidth <= p.columns; column += vectors * vectorWidth)
    tile<rows, vectors>(p, row, column);
  for (; column < p.columns; column += tileVectors * vectorWidth) tile<rows, tileVectors>(p, row, column);
}

void multiply(const Product& p) {
  int64_t row = 0;
  // The weights of some columns are used for all rows before the next columns' are read.
  if (p.rows >= tileRows) {
    for (int64_t column = 0; column < p.columns; column += tileVectors * vectorWidth)
      for (row = 0; row + tileRows <= p.rows; row += tileRows) tile<tileRows, tileVectors>(p, row, column);
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
  for (int i = 0; i < vectorWidth; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

/** 1 / (1 + e^-x) and tanh x, absolute error 2e-7. */
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

/** Scratch memory; VoiceActivity::scratchFloats has its size. */
struct Scratch {
  float *gates, *spectra, *first, *second, *third, *fourth, *tails, *power, *a, *b;

  Scratch(const VoiceActivity& arguments) {
    float* at = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(arguments.scratch) + 63) & ~uintptr_t(63));
    const auto take = [&](int64_t floats) {
      float* taken = at;
      at += floats;
      return taken;
    };
    gates = take(arguments.sequences * blockFrames * 4 * cellCount);
    spectra = take(blockFrames * partCount * spectrumStride);
    first = take(blockFrames * 4 * 128);
    second = take(blockFrames * 2 * 64);
    third = take(blockFrames * 64);
    fourth = take(blockFrames * 128);
    tails = take(4 * partSamples);
    power = take(roundUp(binCount, 16) * 16);
    a = take(partSamples * 16);
    b = take(partSamples * 16);
  }
};

/** Magnitude spectra of the four parts of each frame: [frames, 4, spectrumStride]. A lane has one part of one frame. */
void spectra(const VoiceWeights& weights, const float* const* frames, int64_t count, const Scratch& scratch) {
  constexpr int64_t framesPerVector = vectorWidth / partCount;
  const Roots roots = {weights.cosines, weights.sines, partSamples};
  Complex* packed = reinterpret_cast<Complex*>(scratch.a);
  F* power = reinterpret_cast<F*>(scratch.power);
  for (int64_t frame = 0; frame < count; frame += framesPerVector) {
    const float* parts[vectorWidth];
    for (int64_t i = 0; i < framesPerVector; ++i) {
      const float* samples = frames[min(frame + i, count - 1)];
      float* tail = scratch.tails + i * partSamples;  // the last part is extended by reflection
      constexpr int64_t begin = (partCount - 1) * hopSamples, length = contextSamples + frameSamples;
      for (int64_t n = begin; n < length; ++n) tail[n - begin] = samples[n];
      for (int64_t n = length; n < begin + partSamples; ++n) tail[n - begin] = samples[2 * (length - 1) - n];
      for (int64_t part = 0; part < partCount - 1; ++part) parts[i * partCount + part] = samples + part * hopSamples;
      parts[i * partCount + partCount - 1] = tail;
    }
    for (int64_t n = 0; n < partSamples; n += vectorWidth) {
      F square[vectorWidth];
      const F window = load(weights.window + n);
      for (int lane = 0; lane < vectorWidth; ++lane) square[lane] = load(parts[lane] + n) * window;
      transposeSquare(square);
      for (int i = 0; i < vectorWidth; i += 2) packed[(n + i) / 2] = {square[i], square[i + 1]};
    }
    spectrumPower(packed, reinterpret_cast<Complex*>(scratch.b), partSamples, roots, power);
    float* to = scratch.spectra + frame * partCount * spectrumStride;
    const int64_t lanes = min(vectorWidth, (count - frame) * partCount);
    for (int64_t k = 0; k + 1 < binCount; k += vectorWidth) {
      F square[vectorWidth];
      for (int i = 0; i < vectorWidth; ++i) square[i] = squareRoot(power[k + i]);
      transposeSquare(square);
      for (int64_t lane = 0; lane < lanes; ++lane) store(to + lane * spectrumStride + k, square[lane]);
    }
    const F last = squareRoot(power[binCount - 1]);
    for (int64_t lane = 0; lane < lanes; ++lane) to[lane * spectrumStride + binCount - 1] = last[lane];
  }
}

/** From `length` positions of each frame with `inputs` channels to `length` / `stride` positions. */
struct Convolution {
  int64_t length, inputs, inputStride, stride, outputs;
};
constexpr Convolution convolutions[] = {
    {partCount, binCount, spectrumStride, 1, 128}, {4, 128, 128, 2, 64}, {2, 64, 64, 2, 64}, {1, 64, 64, 1, 128}};

void convolve(const Convolution& c, const float* w, const float* bias, int64_t frames, const float* x, float* y) {
  const int64_t results = (c.length + c.stride - 1) / c.stride;
  for (int64_t result = 0; result < results; ++result) {
    // Only those of the three positions that exist.
    const int64_t from = result * c.stride - 1, first = max(0, -from), end = min(tapCount, c.length - from);
    multiply({frames, c.outputs, end - first, c.inputs, x + (from + first) * c.inputStride, c.length * c.inputStride,
              c.inputStride, w + first * c.inputs * panelColumns, tapCount * c.inputs * panelColumns, bias, 0, true,
              y + result * c.outputs, results * c.outputs});
  }
}

/** The inputs of the cell's gates for each frame, without the recurrent part. */
void encode(const VoiceWeights& weights, const float* const* frames, int64_t count, const Scratch& s, float* gates) {
  spectra(weights, frames, count, s);
  float* const layers[] = {s.spectra, s.first, s.second, s.third, s.fourth};
  for (int i = 0; i < 4; ++i)
    convolve(convolutions[i], weights.convolution[i], weights.bias[i], count, layers[i], layers[i + 1]);
  multiply({count, 4 * cellCount, 1, cellCount, s.fourth, cellCount, 0, weights.input, cellCount * panelColumns,
            weights.gateBias, 0, false, gates, 4 * cellCount});
}

/** Updates the cell's state of one recording, and returns the probability. */
float advance(const VoiceWeights& weights, const float* gates, float* hidden, float* cell) {
  F total = {};
  for (int64_t i = 0; i < cellCount; i += vectorWidth) {
    const F input = sigmoid(load(gates + i)), forget = sigmoid(load(gates + cellCount + i));
    const F candidate = hyperbolicTangent(load(gates + 2 * cellCount + i)),
            out = sigmoid(load(gates + 3 * cellCount + i));
    const F next = fused(forget, load(cell + i), input * candidate);
    const F state = out * hyperbolicTangent(next);
    store(cell + i, next);
    store(hidden + i, state);
    total = fused(max(state, F{}), load(weights.output + i), total);
  }
  return sigmoid(splat(sum(total) + weights.outputBias))[0];
}

}  // namespace

void voiceActivity(const VoiceActivity& a) {
  const VoiceWeights& weights = *a.weights;
  const Scratch scratch(a);
  for (int64_t done = 0; done < a.frames[0]; done += blockFrames) {
    const int64_t steps = min(blockFrames, a.frames[0] - done);
    /** For each step: how many recordings have a frame, and the index of its gates. */
    int64_t present[blockFrames], at[blockFrames];
    const float* frames[blockFrames];
    int64_t pending = 0, encoded = 0;
    const auto flush = [&] {
      encode(weights, frames, pending, scratch, scratch.gates + encoded * 4 * cellCount);
      encoded += pending;
      pending = 0;
    };
    for (int64_t step = 0, from = a.sequences; step < steps; ++step) {
      while (a.frames[from - 1] <= done + step) --from;
      present[step] = from;
      at[step] = encoded + pending;
      for (int64_t s = 0; s < from; ++s) {
        frames[pending++] = a.samples[s] + (done + step) * frameSamples;
        if (pending == blockFrames) flush();
      }
    }
    if (pending > 0) flush();
    for (int64_t step = 0; step < steps; ++step) {
      float* gates = scratch.gates + at[step] * 4 * cellCount;
      multiply({present[step], 4 * cellCount, 1, cellCount, a.hidden, cellCount, 0, weights.hidden,
                cellCount * panelColumns, gates, 4 * cellCount, false, gates, 4 * cellCount});
      for (int64_t s = 0; s < present[step]; ++s)
        a.probabilities[s][done + step] =
            advance(weights, gates + s * 4 * cellCount, a.hidden + s * cellCount, a.cell + s * cellCount);
    }
  }
}

}  // namespace onehead::cpu::ONEHEAD_ISA
