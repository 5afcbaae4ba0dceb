// The CPU kernels' face: plain pointers in, plain pointers out. They know no tensor, no program and no framework.
//
// Every kernel is compiled once for each instruction set (portable, AVX2, AVX-512, each with and without VNNI, AVX-512
// with bfloat16 products) and chosen at run time. A kernel is called by every thread of a Team with the same arguments
// and divides the work itself.
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

/** One thread's contiguous share [begin, end) of `count` pieces. */
struct Share {
  int64_t begin, end;
  // Always inlined: the linker must not share one instruction set's copy with the others.
  [[gnu::always_inline]] Share(int64_t count, const Team& team)
      : begin(count * team.thread / team.threads), end(count * (team.thread + 1) / team.threads) {}
};

/** Weights of 8 bits lie in panels of so many rows. */
constexpr int64_t int8PanelRows = 16;

/**
 * y[m, n] = activation(sum over k of norm(x)[m, k] * w[n, k] + bias[n]) + residual[m, n].
 *
 * linearRows, for few rows m: the product of a decode step, bound by reading w once; w is row-major [columns, depth].
 * linearBytes, for any number of rows: w[n, k] = scales[n] * q[n, k], with q of 8 bits in panels of bytePanel rows,
 * the last filled up with zeros: [columns / bytePanel][depth / 4][bytePanel][4], and `scales` has whole panels too.
 */
struct LinearArguments {
  int64_t rows, columns, depth;  // m, n, k
  const void* x;
  DType xType;
  int64_t xStride;  // elements between rows
  const void* w;
  DType weightType;
  const float* scales;      // null where the weight is not of 8 bits
  bool quantized;           // of 8 bits: each row of x becomes whole numbers too; else w is widened to float32
  const float* bias;        // [columns] or null
  const float* normWeight;  // [depth]: layer norm of x before the product, or null
  const float* normBias;    // [depth]
  float epsilon;
  Activation activation;
  const float* residual;  // [rows, columns] float32 or null; may be y itself
  void* y;                // [rows, columns]
  DType yType;
  void* scratch;  // as the kernel wants it, 64-byte aligned, shared by the team
};
/** Bytes of the panels of a weight. */
[[gnu::always_inline]] constexpr int64_t int8PanelBytes(int64_t columns, int64_t depth) {
  return (columns + int8PanelRows - 1) / int8PanelRows * int8PanelRows * ((depth + 3) / 4 * 4);
}
/** Where element k of row n lies in panels of rows of this depth. */
[[gnu::always_inline]] constexpr int64_t int8PanelIndex(int64_t n, int64_t k, int64_t depth) {
  return (n / int8PanelRows * ((depth + 3) / 4) + k / 4) * (4 * int8PanelRows) + n % int8PanelRows * 4 + k % 4;
}

// Kernels that take `rows` and `pool` work on rows of a pool of state; see native/operations/operations.h. `rows`
// [batch] is null where entry b works on row b, and `pool` is the number of rows then too.

/**
 * weights = softmax(scores * scale) over the last dimension of a score matrix that a product left in memory. Causal and
 * start as in AttentionArguments: the weights of keys that a query does not see are zero, and their scores are not
 * read.
 */
struct SoftmaxArguments {
  int64_t batch, queries, heads, keys;
  float* scores;  // [batch, queries, heads, keys]; overwritten
  void* weights;  // of the same shape; may be the scores themselves where it is float32
  DType weightType;
  bool causal;
  const int32_t* start;  // [batch] or null
  float scale;
};

/** Quantizes rows into a cache of 8 bits: y[begin[b] + t, g] = x[b, t, g] / scales[begin[b] + t, g], as far as that is
 * in y; nothing where begin[b] is negative. */
struct ScatterHeadsArguments {
  int64_t batch, rows, positions;   // of x, of each of its sequences, of y
  int64_t heads, headSize, stride;  // stride: elements from one row of x to the next
  const void* x;
  DType xType;
  const int32_t* begin;
  int8_t* y;      // [positions, heads * headSize]
  float* scales;  // [positions, heads]
};

/**
 * The weights of Silero's voice detector as its kernel reads them. Products are in panels of 64 columns:
 * [columns / 64, depth, 64], the depth of a convolution being [3 positions, channels].
 */
struct VoiceWeights {
  static constexpr int64_t panel = 64;
  const float *window, *cosines, *sines;   // [256]: Hann's window; cos and -sin of 2 pi i / 256
  const float *convolution[4], *bias[4];   // 129 to 128 channels, 128 to 64, 64 to 64, 64 to 128
  const float *input, *hidden, *gateBias;  // 128 to 512: the input, forget, cell and output gates of an LSTM
  const float* output;                     // [128]
  float outputBias;
};

/** The probability of speech in the next frames of several recordings, whose state is kept. Called by one thread. */
struct VoiceActivity {
  static constexpr int64_t context = 64, frame = 512, cells = 128, block = 24, spectrum = 144;
  const VoiceWeights* weights;
  int64_t sequences;
  const float* const* samples;  // of each recording: `context` samples before its frames, and its frames
  const int64_t* frames;        // of each, 1 at least and no more than of the one before
  float *hidden, *cell;         // [sequences, cells]: the state, zeros at first; overwritten
  float* const* probabilities;  // of each: one for each frame
  void* scratch;                // scratchFloats(sequences) floats

  static constexpr int64_t scratchFloats(int64_t sequences) {
    return block * (sequences * 4 * cells + 4 * spectrum + 4 * 128 + 2 * 64 + 64 + 128) + 4 * 256 + 144 * 16 +
           2 * 256 * 16 + 16;
  }
};

/** A kernel, called by every thread of the team, and the bytes of scratch memory that it wants; null: none. */
template <class Arguments>
struct Kernel {
  void (*run)(const Arguments&, const Team&);
  size_t (*scratchBytes)(const Arguments&, int threads);
};

/**
 * Every kernel, by what it takes (a type whose name ends in Arguments) and its name. Its file defines the function of
 * that name and, for `withScratch`, `size_t <name>Scratch(const <type>Arguments&, int threads)`. The declarations, the
 * struct below and each instruction set's table are made from this list. Kernels of operations that are one are in
 * native/operations/kernels.h.
 */
// clang-format off
#define ONEHEAD_CPU_KERNELS(kernel, withScratch) \
  ONEHEAD_KERNELS(kernel, withScratch) \
  withScratch(Linear, linearRows) \
  withScratch(Linear, linearBytes) \
  withScratch(Attention, attentionStreaming) \
  withScratch(Attention, attentionDecode) \
  withScratch(Attention, attentionBaseline) \
  kernel(Softmax, softmax) \
  kernel(ScatterHeads, scatterHeads)
// clang-format on

/**
 * What one thread calls by itself:
 *  - quantizeRow: q = x / scale, rounded; gives the scale, the largest magnitude / 127. The same on every instruction
 *    set.
 *  - convert: elements to float32 or bfloat16, from these or float16, which checkpoints have and kernels have not.
 */
// clang-format off
#define ONEHEAD_CPU_FUNCTIONS(function) \
  function(quantizeRow, float(const float* x, int64_t count, int8_t* q)) \
  function(convert, void(const void* from, DType fromType, void* to, DType toType, int64_t count)) \
  function(voiceActivity, void(const VoiceActivity&))
// clang-format on

/** One instruction set's kernels. */
struct Kernels {
  const char* name;  // 'portable', 'avx2', 'avx2-vnni', 'avx512', 'avx512-vnni', 'avx512-bf16'
#define ONEHEAD_MEMBER(Type, name) Kernel<Type##Arguments> name;
  ONEHEAD_CPU_KERNELS(ONEHEAD_MEMBER, ONEHEAD_MEMBER)
#undef ONEHEAD_MEMBER
#define ONEHEAD_MEMBER(name, ...) std::type_identity_t<__VA_ARGS__>* name;
  ONEHEAD_CPU_FUNCTIONS(ONEHEAD_MEMBER)
#undef ONEHEAD_MEMBER
};

/** The best kernels that this CPU can run, or those named (null when this CPU or this build cannot). */
const Kernels* kernels();
const Kernels* kernels(const char* name);
/** True when the CPU multiplies bfloat16 natively (AVX512-BF16 or AMX). */
bool multipliesBfloat16();

}  // namespace onehead::cpu
