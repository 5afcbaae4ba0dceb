// The CUDA kernels' face: plain device pointers in, plain device pointers out, an error code back. They know no tensor,
// no program and no framework. Each family is a file, explained at its top.
//
// Everything is started on the launcher's stream and nothing waits. Strides are in elements. Scratch memory is the
// caller's, aligned to 256 bytes; `counters` are zero before the first launch, and every kernel leaves them zero.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "../../core/dtype.h"
#include "../../core/everywhere.h"
#include "../../core/kinds.h"
#include "limits.h"
#include "operations/kernels.h"

namespace onehead::cuda {

enum class Fusion { automatic, always, never };

/** How kernels are started, and what the device has. */
struct Launcher {
  cudaStream_t stream = nullptr;
  /** Products and attention in one kernel: where they are predicted to gain by it, wherever they can be, or nowhere. */
  Fusion fusion = Fusion::automatic;
  /** Kernels may start before the one before has ended (compute capability 9.0 on). */
  bool programmatic = false;
  /** Blocks may stand in clusters of 8 (compute capability 9.0 on). */
  bool clusters = false;
  /** The device has wgmma, and the kernels were compiled for it (compute capability 9.0 alone). */
  bool warpgroups = false;
  int multiprocessors = 1;
  /** Bytes that a block may have at most. */
  size_t sharedMemory = size_t(48) << 10;
};

/** What a kernel wants besides its arguments. */
struct Needs {
  size_t scratchBytes = 0, counters = 0;
};

// The operations that are one kernel of their own name.
#define ONEHEAD_DECLARE(Type, name) cudaError_t name(const Type##Arguments& arguments, const Launcher& launcher);
#define ONEHEAD_DECLARE_WITH_SCRATCH(Type, name) \
  ONEHEAD_DECLARE(Type, name)                    \
  Needs name##Needs(const Type##Arguments& arguments);
ONEHEAD_KERNELS(ONEHEAD_DECLARE, ONEHEAD_DECLARE_WITH_SCRATCH)
#undef ONEHEAD_DECLARE
#undef ONEHEAD_DECLARE_WITH_SCRATCH

/** What is done to a product's sums: y = activation(scale * sum + bias[n]) + residual[m % residualRows, n]. */
struct Epilogue {
  float scale = 1;
  const float* bias = nullptr;
  Activation activation = Activation::none;
  const float* residual = nullptr;  // [residualRows, columns]; may be y itself
  int64_t residualRows = 1;
  /** Of a weight that is whole numbers of 8 bits: what column n's sum is multiplied by, too, [columns]. */
  const float* columnScales = nullptr;
  /** Where x is of 8 bits as well: [rows]. */
  const float* rowScales = nullptr;
};

/**
 * y[m, n] = epilogue(sum over k of norm(x)[m, k] w[n, k]), for few rows: bound by reading w once.
 * x is float32 or of w's type; float32 where there is a norm. Where the epilogue has columnScales, w is int8, and its
 * type is what it is widened to in registers.
 */
struct FewRowsArguments {
  int64_t rows, columns, depth;
  const void* x;
  DType xType;
  const void* weight;  // [columns, depth]
  DType weightType;
  bool weightChanges;  // a kernel before may write the weight, the norm's or the bias: it waits before it reads them
  const float *normWeight, *normBias;  // [depth] or null
  float epsilon;
  Epilogue epilogue;
  void* y;
  DType yType;
};
/** 1 to 64 rows, in clusters of blocks: cluster_product.cu. Without a norm x is of w's type. */
constexpr int64_t clusterProductRows = 64;
bool clusterProductFits(const FewRowsArguments& arguments, const Launcher& launcher);
cudaError_t clusterProduct(const FewRowsArguments& arguments, const Launcher& launcher);

/** 1 to 4 rows, on any GPU and at any depth: matvec.cu. */
constexpr int64_t matvecRows = 4;
bool matvecFits(const FewRowsArguments& arguments, const Launcher& launcher);
cudaError_t matvec(const FewRowsArguments& arguments, const Launcher& launcher);

/** The same without a norm for 1 to 64 rows of w's type, on tensor cores: skinny.cu; w is read once. */
struct SkinnyArguments {
  int64_t rows, columns, depth;
  const void* x;       // [rows, depth] in the weight's type, rows aligned to 16 bytes
  const void* weight;  // [columns, depth]; int8 where there are columnScales, widened to `type`
  DType type;
  bool weightChanges;  // as in FewRowsArguments
  Epilogue epilogue;
  void* y;
  DType yType;
};
constexpr int64_t skinnyRows = 64;
bool skinnyFits(const SkinnyArguments& arguments);
cudaError_t skinny(const SkinnyArguments& arguments, const Launcher& launcher);

/** Where a product's matrices and rows lie: offset(z) = z / inner * outerStride + z % inner / shared * innerStride. */
struct Stepping {
  int64_t inner = 1, outerStride = 0, innerStride = 0, shared = 1;
};

/**
 * y[z][m, n] = epilogue(sum over k of a[z][m, k] b[z][n, k]), or b[z][k, n] where `bTransposed`: product.cu. Rows of a
 * and y, and matrices, lie where the steppings say; b's rows are bStride apart.
 */
struct ProductArguments {
  int64_t batch = 1, rows, columns, depth;
  /** Of a and b. With columnScales b is int8 and widened to a's type; with rowScales `type` is int8, and both are, the
   * depth and what a's rows and b's are apart being even. */
  DType type;
  const void* a;
  Stepping aBatch{}, aRows{};
  const void* b;
  Stepping bBatch{};
  int64_t bStride;
  bool bTransposed = false;
  /** A convolution's rows reach beyond their sequence: elements before `aBegin` (negative) + 0 and from aLimit on are
   * 0. */
  int64_t aBegin = 0, aLimit = 0;  // aLimit 0: none
  /** The depth of matrix z is start[z / startInner] + startExtra at most: keys behind it were never written. */
  const int32_t* start = nullptr;
  int64_t startInner = 1, startExtra = 0;
  Epilogue epilogue;
  void* y;
  DType yType;
  Stepping yBatch{}, yRows{};
};
cudaError_t product(const ProductArguments& arguments, const Launcher& launcher);

/** y = activation(y) in place, behind a product that could not do it itself. */
cudaError_t activateInPlace(void* y, DType type, int64_t elements, Activation activation, const Launcher& launcher);

/** x [rows, width] (float32 where there is a norm), normed -> y [rows, stride], each row times scales[row], zeros
 * behind its width: quantize.cu. A row that is not finite has the scale NaN. */
struct QuantizeRowsArguments {
  int64_t rows, width;
  const void* x;
  DType xType;
  const float *normWeight, *normBias;  // [width] or null
  float epsilon;
  int8_t* y;
  int64_t stride;
  float* scales;
  /** [rows] or null: what rounding loses of a row's usual elements (see Backend::Quantized); -1 of a row of zeros. */
  float* lost = nullptr;
  bool aligned = false;  // x; found by quantizeRows
};
cudaError_t quantizeRows(const QuantizeRowsArguments& arguments, const Launcher& launcher);

/** y = epilogue(sums) of whole numbers [rows, columns], columns a multiple of four. */
struct FinishSumsArguments {
  int64_t rows, columns;
  const int32_t* sums;
  Epilogue epilogue;
  void* y;
  DType yType;
};
cudaError_t finishSums(const FinishSumsArguments& arguments, const Launcher& launcher);

/** y[n, k] = scales[n] x[n, k] in a floating type. */
struct WidenRowsArguments {
  int64_t rows, width;
  const int8_t* x;
  const float* scales;
  void* y;
  DType yType;
  bool aligned = false;  // found by widenRows
};
cudaError_t widenRows(const WidenRowsArguments& arguments, const Launcher& launcher);

// Kernels that take `rows` and `pool` work on rows of a pool of state; see native/operations/operations.h. `rows`
// [batch] is null where entry b works on row b, and `pool` is the number of rows then too. They are read on the device,
// so that a captured graph serves whichever rows there are.

/** The row of state that entry b works on; negative where it is idle. */
template <class Arguments>
ONEHEAD_EVERYWHERE int64_t stateRow(const Arguments& a, int64_t b) {
  if (!a.rows) return b;
  const int64_t row = a.rows[b];
  return row < a.pool ? row : -1;
}

/** Stages in order. Not a std::vector: the compiler of the kernels' host code may have another standard library than
 * the rest of the addon. */
class AttentionStages {
 public:
  void add(AttentionStage stage) { stages_[count_++] = stage; }
  const AttentionStage* begin() const { return stages_; }
  const AttentionStage* end() const { return stages_ + count_; }

 private:
  AttentionStage stages_[5];
  int count_ = 0;
};
/** The stages of this case. */
AttentionStages attentionStages(const AttentionArguments& arguments);
Needs attentionNeeds(const AttentionArguments& arguments, const Launcher& launcher);
/** Starts the arguments' stage. */
cudaError_t attention(const AttentionArguments& arguments, const Launcher& launcher);

/** Attention of one query a row and the product that makes it, with the norm before: projected_attention.cu. */
struct ProjectedAttentionArguments {
  FewRowsArguments projection;  // x float32 [batch, depth], weight [(heads or heads + 2 keyValueHeads) headSize, depth]
  /** Its q, newKey and newValue are the product's. `keysStay` says that nothing *before* this in the program writes
   * keys, values, `start`, `source`, `rows`, `keyBegin` and `keyCount`. */
  AttentionArguments attention;
  bool appends;  // the weight makes query, key and value
};
bool projectedAttentionFits(const ProjectedAttentionArguments& arguments, const Launcher& launcher);
/** Whether it is predicted to be faster than product and attention apart. */
bool projectedAttentionPays(const ProjectedAttentionArguments& arguments, const Launcher& launcher);
cudaError_t projectedAttention(const ProjectedAttentionArguments& arguments, const Launcher& launcher);

/** The products of a decoder's layer, in the order of their use; the first, third and fifth have a norm before. */
enum LayerProduct { layerQueryKeyValue, layerOut, layerQuery, layerCrossOut, layerUp, layerDown, layerProducts };
constexpr int layerNorms = 3;
/** A whole layer for one row, [1, depth] of products[0].x to products[layerDown].y, both float32: decoder_layer.cu.
 * What lies between is written nowhere but for the new key and value. */
struct DecoderLayerArguments {
  FewRowsArguments products[layerProducts];
  /** Their q, newKey and newValue are the products'; `keysStay` as in ProjectedAttentionArguments. */
  AttentionArguments self, cross;
};
bool decoderLayerFits(const DecoderLayerArguments& arguments, const Launcher& launcher);
/** Whether it is predicted to be faster than its operations apart. */
bool decoderLayerPays(const DecoderLayerArguments& arguments, const Launcher& launcher);
cudaError_t decoderLayer(const DecoderLayerArguments& arguments, const Launcher& launcher);

/** Rows of `width` elements copied from where one stepping says to where another says, in any floating types. */
struct CopyRowsArguments {
  int64_t rows, width;
  const void* x;
  DType xType;
  Stepping xRows;
  void* y;
  DType yType;
  Stepping yRows;
  /** Each row goes start[row / startInner] * startStride further, unless that is row `startRows` or behind it. */
  const int32_t* start = nullptr;
  int64_t startInner = 1, startStride = 0, startRows = 0;
};
cudaError_t copyRows(const CopyRowsArguments& arguments, const Launcher& launcher);

/** Whisper's convolution weights [outputs, channels, kernel] as [outputs, kernel, channels], elements of 2 or 4 bytes.
 */
struct PermuteArguments {
  int64_t outputs, channels, kernel;
  const void* x;
  void* y;
  size_t elementBytes;
};
cudaError_t permute(const PermuteArguments& arguments, const Launcher& launcher);

/** y[begin[b] + t] = x[b, t], as far as that is among the positions of y; nothing where begin[b] is negative. */
struct ScatterRowsArguments {
  int64_t batch, rows, positions;  // of x, of each of its sequences, of y
  int64_t width, stride;           // of a row of x, and from one to the next, elements
  const void* x;
  DType xType;
  const int32_t* begin;
  void* y;
  DType yType;  // another floating type, or x's own, which may be any
};
cudaError_t scatterRows(const ScatterRowsArguments& arguments, const Launcher& launcher);

/** Heads of rows into a cache of 8 bits. Row t of batch b goes to position begin[b] + t, as far as that is among the
 * positions; nothing where begin[b] is negative. Where it is `stateful`, each sequence has positions of its own, and
 * `stateRows` [batch], or null, say whose they are, as `begin` is. */
struct QuantizeHeadsArguments {
  int64_t batch, rows, positions, heads, headSize;
  DType xType;
  int64_t batchStride, rowStride;  // of x, elements
  const int32_t* begin;
  /** One cache, or two of one form: keys and values. */
  struct Part {
    const void* x;
    int8_t* y;      // [positions, heads * headSize]
    float* scales;  // [positions, heads]
  } parts[2];
  int count;
  bool stateful = false;
  const int32_t* stateRows = nullptr;
  int64_t pool = 0;
};
cudaError_t quantizeHeads(const QuantizeHeadsArguments& arguments, const Launcher& launcher);

/** Copies between places that do not overlap. */
cudaError_t copyBytes(void* to, const void* from, size_t bytes, const Launcher& launcher);

/** Fills memory with a byte; a kernel, so that programs hold nothing but kernels. */
cudaError_t fillBytes(void* memory, size_t bytes, uint8_t value, const Launcher& launcher);

/** What the host watches while programs replay: in memory that both sides see. */
struct Progress {
  volatile int64_t replays;
  volatile int64_t endedAt;  // replays when the flags said so; until then 0, or less by those that were set at first
};
/** Counts a replay, and looks whether all flags are set, or any besides the first. */
cudaError_t publish(Progress* progress, const int32_t* flags, int64_t count, bool any, const Launcher& launcher);

}  // namespace onehead::cuda
