// The interface of the CPU kernels, which take plain pointers: they know neither tensors nor programs.
//
// Every kernel is compiled once for each instruction set (portable, AVX2 and AVX-512 with and without VNNI, AVX-512
// with bfloat16 products and with AMX), which is chosen at run time. Every thread of a Team calls a kernel with the
// same arguments, and the kernel divides the work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "../core/kinds.h"
#include "operations/kernels.h"

namespace onehead::cpu {

/** The threads that run one kernel together. */
class Team {
 public:
  virtual ~Team() = default;
  int thread = 0;
  int threads = 1;
  /** Returns when every thread of the team has called it. */
  virtual void barrier() const = 0;
};

/** A thread's contiguous share [begin, end) of `count` units of work. */
struct Share {
  int64_t begin, end;
  // Always inlined, since the linker must not share one instruction set's copy with the others.
  [[gnu::always_inline]] Share(int64_t count, const Team& team)
      : begin(count * team.thread / team.threads), end(count * (team.thread + 1) / team.threads) {}
};

/** Rows of a panel of an int8 or int16 weight. */
constexpr int64_t integerPanelRows = 16;

/**
 * y[m, n] = activation(sum over k of norm(x)[m, k] * w[n, k] + bias[n]) + residual[m, n].
 *
 *  - linearRows, for few rows m: the product of a decode step, where reading w is the bound; w is row-major [columns,
 *    depth].
 *  - linearBytes, for any number of rows: w[n, k] = scales[n] * q[n, k], with int8 q in panels of rows,
 *    [columns / integerPanelRows][depth / 4][integerPanelRows][4]. The last panel and `scales` are padded with zeros.
 *  - linearInt16, for many rows: the same with int16 q in panels [columns / integerPanelRows][depth / 2]
 *    [integerPanelRows][2]. Rows of x become int16 too. See `quantizeInt16`.
 */
struct LinearArguments {
  int64_t rows, columns, depth;  // m, n, k
  const void* x;
  DType xType;
  int64_t xStride;  // elements between rows
  // linearInt16 only: where row 0 begins in x, which may be before it, and the elements of x. Rows may overlap, and
  // what they have outside x counts as zero: so a convolution is a product.
  int64_t xBegin = 0, xElements = INT64_MAX;
  const void* w;
  DType weightType;
  const float* scales;      // null unless the weight is int8 or int16
  bool quantized;           // int8 weights only: rows of x become int8 too; otherwise w is widened to float32
  const float* bias;        // [columns] or null
  const float* normWeight;  // [depth]: layer norm of x before the product, or null
  const float* normBias;    // [depth]
  float epsilon;
  Activation activation;
  const float* residual;  // [rows, columns] float32 or null; may be y itself
  void* y;                // [rows, columns]
  DType yType;
  void* scratch;  // 64-byte aligned, shared by the team; see the kernel's Scratch function
};
/** Bytes of an int8 weight in panels. */
[[gnu::always_inline]] constexpr int64_t int8PanelBytes(int64_t columns, int64_t depth) {
  return (columns + integerPanelRows - 1) / integerPanelRows * integerPanelRows * ((depth + 3) / 4 * 4);
}
/** The index of element k of row n in panels of rows of this depth. */
[[gnu::always_inline]] constexpr int64_t int8PanelIndex(int64_t n, int64_t k, int64_t depth) {
  return (n / integerPanelRows * ((depth + 3) / 4) + k / 4) * (4 * integerPanelRows) + n % integerPanelRows * 4 + k % 4;
}
/** The same for an int16 weight: its elements, and the index of one. */
[[gnu::always_inline]] constexpr int64_t int16PanelElements(int64_t columns, int64_t depth) {
  return (columns + integerPanelRows - 1) / integerPanelRows * integerPanelRows * ((depth + 1) / 2 * 2);
}
[[gnu::always_inline]] constexpr int64_t int16PanelIndex(int64_t n, int64_t k, int64_t depth) {
  return (n / integerPanelRows * ((depth + 1) / 2) + k / 2) * (2 * integerPanelRows) + n % integerPanelRows * 2 + k % 2;
}

// Kernels that take `rows` and `pool` work on rows of a pool of state; see operations/operations.h. `rows` [batch] is
// null if entry b has row b; then `pool` is the number of entries.

/**
 * weights = softmax(scores * scale) over the last dimension of a score matrix in memory. Causal and start as in
 * AttentionArguments: the weights of masked keys are zero, and their scores are not read.
 */
struct SoftmaxArguments {
  int64_t batch, queries, heads, keys;
  float* scores;  // [batch, queries, heads, keys]; overwritten
  void* weights;  // of the same shape; may be `scores` if it is float32
  DType weightType;
  bool causal;
  const int32_t* start;  // [batch] or null
  float scale;
};

/** Quantizes rows into an int8 cache: y[begin[b] + t, g] = x[b, t, g] / scales[begin[b] + t, g], for positions within
 * y. If begin[b] is negative, nothing is written. */
struct ScatterHeadsArguments {
  int64_t batch, rows, positions;   // of x; of each sequence of x; of y
  int64_t heads, headSize, stride;  // stride: elements between rows of x
  const void* x;
  DType xType;
  const int32_t* begin;
  int8_t* y;      // [positions, heads * headSize]
  float* scales;  // [positions, heads]
};

/**
 * The weights of Silero's voice detector. Products are in panels of 64 columns: [columns / 64, depth, 64]; the depth of
 * a convolution is [3 positions, channels].
 */
struct VoiceWeights {
  static constexpr int64_t panel = 64;
  const float *window, *cosines, *sines;   // [256]: Hann window; cos and -sin of 2 pi i / 256
  const float *convolution[4], *bias[4];   // 129 to 128 channels, 128 to 64, 64 to 64, 64 to 128
  const float *input, *hidden, *gateBias;  // 128 to 512: input, forget, cell and output gates of an LSTM
  const float* output;                     // [128]
  float outputBias;
};

/** The probability of speech in the next frames of several recordings, whose state is kept. Runs in one thread. */
struct VoiceActivity {
  static constexpr int64_t context = 64, frame = 512, cells = 128, block = 24, spectrum = 144;
  const VoiceWeights* weights;
  int64_t sequences;
  const float* const* samples;  // of each recording: `context` samples before its frames, then its frames
  const int64_t* frames;        // of each recording, at least 1, in descending order
  float *hidden, *cell;         // [sequences, cells]: the state, zero at first; overwritten
  float* const* probabilities;  // of each recording: one per frame
  void* scratch;                // scratchFloats(sequences) floats

  static constexpr int64_t scratchFloats(int64_t sequences) {
    return block * (sequences * 4 * cells + 4 * spectrum + 4 * 128 + 2 * 64 + 64 + 128) + 4 * 256 + 144 * 16 +
           2 * 256 * 16 + 16;
  }
};

/**
 * Outputs of a resampler (`Resampler` in resampler.h), each from `taps` consecutive samples. Output i is at
 * `behind` + i * `from`, in units of 1 / `to` of a sample, from the place whose first sample has the index `whole`.
 * There, output = sum of samples[index + tap] * filters[phase, tap]. Runs in one thread.
 */
struct Resampling {
  static constexpr int64_t tapUnit = 4, strideUnit = 16;
  int64_t from, to;              // the rates without their common factors
  const float* filters;          // [phases, stride], one more row if interpolated; 64-byte aligned, zeros beyond `taps`
  int64_t phases, taps, stride;  // multiples of the units above
  bool interpolated;             // between the two nearest phases; otherwise `phases` is `to`
  const float* samples;
  int64_t whole, behind;  // 0 <= behind < to
  int64_t count;
  float* output;  // [count]
};

/**
 * Converts PCM of interleaved channels to float32 from -1 to 1. Integers of n bits are divided by 2^(n - 1). Runs in
 * one thread, as mixing does.
 */
struct PcmConversion {
  /** `bytes` are 8 bits in any form, such as A-law. */
  enum class Coding { bytes, int16, int24, int32, float32, float64 };
  static constexpr int64_t maxChannels = 64;
  Coding coding;
  bool bigEndian;
  const float* table;        // [256]: the sample of each byte, for Coding::bytes
  const void* bytes;         // [frames, channels], at any address
  int64_t channels, frames;  // at most maxChannels
  float* const* samples;     // [channels][frames]
};

/** Mixes channels to one: their mean, or the sum of their shares. */
struct ChannelMix {
  /** Partial sums of squares. Their number is fixed, so that the order of additions is. */
  static constexpr int64_t lanes = 8;
  int64_t channels, count;
  const float* const* samples;  // [channels][count]
  const double* shares;         // [channels] or null for the mean
  float* mix;                   // [count]
  double* squares;              // scratch memory, [channels + 1, lanes]; zero
  double* powers;               // [channels + 1]: the sum of squares of each channel, then that of the mix
};

/** A kernel, called by every thread of the team, and its scratch memory in bytes (null if it needs none). */
template <class Arguments>
struct Kernel {
  void (*run)(const Arguments&, const Team&);
  size_t (*scratchBytes)(const Arguments&, int threads);
};

/**
 * Every kernel, by its arguments (a type whose name ends in Arguments) and its name. The kernel's file defines a
 * function of that name and, for `withScratch`, `size_t <name>Scratch(const <type>Arguments&, int threads)`. This list
 * generates the declarations, the struct below and each instruction set's table. native/operations/kernels.h lists the
 * kernels of operations that have only one.
 */
// clang-format off
#define ONEHEAD_CPU_KERNELS(kernel, withScratch) \
  ONEHEAD_KERNELS(kernel, withScratch) \
  withScratch(Linear, linearRows) \
  withScratch(Linear, linearBytes) \
  withScratch(Linear, linearInt16) \
  withScratch(Attention, attentionStreaming) \
  withScratch(Attention, attentionDecode) \
  withScratch(Attention, attentionBaseline) \
  kernel(Softmax, softmax) \
  kernel(ScatterHeads, scatterHeads)
// clang-format on

/**
 * Functions that a single thread calls:
 *  - quantizeRow: q = x / scale, rounded; returns the scale, largest magnitude / 127. The same on every instruction
 * set.
 *  - quantizeInt16: the same to 16 bits, such that sums of products of two such rows do not overflow 32 bits; see
 *    kernels/int16.h.
 *  - withinLevel: whether no magnitude is above `level`, or NaN.
 *  - convert: converts float32, bfloat16 or float16 (which only checkpoints have) to float32 or bfloat16.
 */
// clang-format off
#define ONEHEAD_CPU_FUNCTIONS(function) \
  function(quantizeRow, float(const float* x, int64_t count, int8_t* q)) \
  function(quantizeInt16, float(const float* x, int64_t count, int16_t* q)) \
  function(convert, void(const void* from, DType fromType, void* to, DType toType, int64_t count)) \
  function(voiceActivity, void(const VoiceActivity&)) \
  function(resample, void(const Resampling&)) \
  function(convertPcm, void(const PcmConversion&)) \
  function(mixChannels, void(const ChannelMix&)) \
  function(withinLevel, bool(const float* samples, int64_t count, float level))
// clang-format on

/** One instruction set's kernels. */
struct Kernels {
  const char* name;  // 'portable', 'avx2', 'avx2-vnni', 'avx512', 'avx512-vnni', 'avx512-bf16', 'avx512-amx'
  /** Whether linearInt16 is faster than products in float32; whether there are products of bfloat16. */
  bool multipliesInt16, multipliesBfloat16;
#define ONEHEAD_MEMBER(Type, name) Kernel<Type##Arguments> name;
  ONEHEAD_CPU_KERNELS(ONEHEAD_MEMBER, ONEHEAD_MEMBER)
#undef ONEHEAD_MEMBER
#define ONEHEAD_MEMBER(name, ...) std::type_identity_t<__VA_ARGS__>* name;
  ONEHEAD_CPU_FUNCTIONS(ONEHEAD_MEMBER)
#undef ONEHEAD_MEMBER
};

/** The best kernels that this CPU supports, or those with the given name (null if CPU or build do not have them). */
const Kernels* kernels();
const Kernels* kernels(const char* name);
/** Number `index` of those that this CPU supports, from the slowest on; null after the last. */
const Kernels* availableKernels(int index);
/** Whether the CPU has bfloat16 products (AVX512-BF16). */
bool multipliesBfloat16();

}  // namespace onehead::cpu
