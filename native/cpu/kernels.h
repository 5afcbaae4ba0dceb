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
#include "operations/alignment/arguments.h"
#include "operations/decoding/arguments.h"
#include "operations/features/arguments.h"
#include "operations/normalization/arguments.h"
#include "operations/rows/arguments.h"

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
constexpr int64_t bytePanel = 16;

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
[[gnu::always_inline]] constexpr int64_t bytePanels(int64_t columns, int64_t depth) {
  return (columns + bytePanel - 1) / bytePanel * bytePanel * ((depth + 3) / 4 * 4);
}
/** Where element k of row n lies in panels of rows of this depth. */
[[gnu::always_inline]] constexpr int64_t bytePlace(int64_t n, int64_t k, int64_t depth) {
  return (n / bytePanel * ((depth + 3) / 4) + k / 4) * (4 * bytePanel) + n % bytePanel * 4 + k % 4;
}

// Kernels that take `rows` and `pool` work on rows of a pool of state; see native/operations/operations.h. `rows`
// [batch] is null where entry b works on row b, and `pool` is the number of rows then too.

/** Tensors of attention are [batch, length, heads, headSize] with contiguous heads; strides are in elements. */
struct AttentionView {
  const void* data;
  int64_t batchStride, rowStride;
};

/** multiHead's passes over the score matrix: all in one call, or one a call, in this order, so that each can be timed.
 */
enum class AttentionPass : int32_t { all, scores, softmax, values };

/**
 * softmax(q k^T * scale) v, query head h reading key/value head h * keyValueHeads / heads.
 * With `append`, the new keys and values of this call are first copied to rows start[b] ... start[b] + queries - 1 of
 * the cache that key and value point to. With `causal`, query i of sequence b sees keys 0 ... start[b] + i (start 0
 * when null); otherwise keys 0 ... keys - 1.
 */
struct Attention {
  int64_t batch, queries, keys, heads, keyValueHeads, headSize;
  DType type;  // of q, k, v and y
  AttentionView q, k, v;
  bool causal;
  const int32_t* start;  // [batch] or null
  const void *newKey,
      *newValue;  // rows to append or null: [batch, queries, keyValueHeads, headSize] with these strides
  int64_t newBatchStride, newRowStride;
  float scale;
  void* y;        // [batch, queries, heads, headSize] contiguous
  void* scratch;  // as the kernel wants it, 64-byte aligned, shared by the team

  // Optional; see Attention in native/operations/attention/operation.h.
  const int32_t* source = nullptr;         // [pool, keys], splitKeyValue only
  float* scores = nullptr;                 // [scoreSequences, scoreRows, scoreWidth, scoreKeys]
  const int32_t* scoreHeads = nullptr;     // [heads]
  const int32_t* scorePosition = nullptr;  // [pool * queries]
  int64_t scoreRows = 0, scoreWidth = 0;
  AttentionPass pass = AttentionPass::all;

  // Rows of a pool, for memoryEfficient and splitKeyValue.
  const int32_t* rows = nullptr;  // [batch]; start is [pool] then
  int64_t pool = 0;
  const int32_t *keyBegin = nullptr, *keyCount = nullptr;  // [pool]; k and v are one sequence of `keys` positions then
  const int32_t* scoreRow = nullptr;                       // [pool]
  int64_t scoreSequences = 0, scoreKeys = 0;

  // splitKeyValue only: keys and values of 8 bits, each head of each position times a scale. What is appended is
  // quantized; q, new rows and y are of `type`.
  float *keyScales = nullptr, *valueScales = nullptr;  // [sequences, positions, keyValueHeads]
  int64_t scaleStride = 0;                             // from one sequence to the next
};

/**
 * weights = softmax(scores * scale) over the last dimension of a score matrix that a product left in memory. Causal and
 * start as in Attention: the weights of keys that a query does not see are zero, and their scores are not read.
 */
struct Softmax {
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
struct ScatterHeads {
  int64_t batch, rows, positions;   // of x, of each of its sequences, of y
  int64_t heads, headSize, stride;  // stride: elements from one row of x to the next
  const void* x;
  DType xType;
  const int32_t* begin;
  int8_t* y;      // [positions, heads * headSize]
  float* scales;  // [positions, heads]
};

/** y[b, :] = x[b, index[b] + offset, :], x [batch, length, width] float32; the index is clamped to the rows. */
struct GatherRows {
  int64_t batch, length, width;
  const float* x;
  const int32_t* index;
  int32_t offset;
  float* y;
  int64_t yStride;
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
 * Every kernel, by the type of its arguments and its name. Its file defines the function of that name and, for
 * `withScratch`, `size_t <name>Scratch(const Arguments&, int threads)`. The declarations, the struct below and each
 * instruction set's table are made from this list.
 */
// clang-format off
#define ONEHEAD_CPU_KERNELS(kernel, withScratch) \
  withScratch(LinearArguments, linearRows) \
  withScratch(LinearArguments, linearBytes) \
  kernel(ScatterHeads, scatterHeads) \
  kernel(LayerNormArguments, layerNorm) \
  withScratch(Attention, attentionStreaming) \
  withScratch(Attention, attentionDecode) \
  withScratch(Attention, attentionBaseline) \
  kernel(Softmax, softmax) \
  withScratch(LogMelArguments, logMel) \
  kernel(TransposeCastArguments, transposeCast) \
  kernel(EmbedArguments, embed) \
  withScratch(NextTokenArguments, nextToken) \
  withScratch(NextBeamsArguments, nextBeams) \
  withScratch(AlignPositionsArguments, alignPositions) \
  kernel(AddWeightsArguments, addWeights) \
  kernel(TokenProbabilityArguments, tokenProbability) \
  kernel(GatherRows, gatherRows)
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
#define ONEHEAD_MEMBER(Arguments, name) Kernel<Arguments> name;
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
