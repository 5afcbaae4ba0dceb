// The interface of the CUDA kernels, which take plain device pointers and return an error code: they know neither
// tensors nor programs. Each family's file begins with an explanation.
//
// Everything is launched on the launcher's stream, and nothing waits. Strides are in elements. The caller provides
// scratch memory, aligned to 256 bytes. `counters` are zero before the first launch, and every kernel leaves them zero.
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

/** How kernels are launched, and properties of the device. */
struct Launcher {
  cudaStream_t stream = nullptr;
  /** Programmatic dependent launch is available (compute capability 9.0 on). */
  bool programmatic = false;
  /** Clusters of 8 blocks are available (compute capability 9.0 on). */
  bool clusters = false;
  /** The device has wgmma, and the kernels were compiled for it (compute capability 9.0 only). */
  bool warpgroups = false;
  int multiprocessors = 1;
  /** The most shared memory of a block, in bytes. */
  size_t sharedMemory = size_t(48) << 10;
  /** Of the L2 cache; 0 if nothing is to be prefetched into it. */
  int64_t cacheBytes = 0;
  /** The most rows that row_product.cu is used for. */
  int64_t maxRowProductRows = 32;
  /** Whether attention_ring.cu is used. */
  bool ringAttention = true;
  /** Whether layer_norm.cu shares weight and bias of many rows, and activate.cu has several vectors in flight. */
  bool sharingNorm = true, wideActivation = true;
  /** What this launch loads for a later one. */
  Prefetch prefetch{};
};

/** What a kernel needs besides its arguments. */
struct Needs {
  size_t scratchBytes = 0, counters = 0;
};

// Operations with a single kernel of their name.
#define ONEHEAD_DECLARE(Type, name) cudaError_t name(const Type##Arguments& arguments, const Launcher& launcher);
#define ONEHEAD_DECLARE_WITH_SCRATCH(Type, name) \
  ONEHEAD_DECLARE(Type, name)                    \
  Needs name##Needs(const Type##Arguments& arguments);
ONEHEAD_KERNELS(ONEHEAD_DECLARE, ONEHEAD_DECLARE_WITH_SCRATCH)
#undef ONEHEAD_DECLARE
#undef ONEHEAD_DECLARE_WITH_SCRATCH

/** The epilogue of a product: y = activation(scale * sum + bias[n]) + residual[m % residualRows, n]. */
struct Epilogue {
  float scale = 1;
  const float* bias = nullptr;
  Activation activation = Activation::none;
  const float* residual = nullptr;  // [residualRows, columns]; may be y itself
  int64_t residualRows = 1;
  /** int8 weights: the sum of column n is also multiplied by columnScales[n], [columns]. */
  const float* columnScales = nullptr;
  /** If x is int8 too: scales of its rows, [rows]. */
  const float* rowScales = nullptr;
};

/**
 * y[m, n] = epilogue(sum over k of norm(x)[m, k] w[n, k]) for few rows, where reading w is the bound. x is float32 or
 * has w's type; with a norm it is float32. If the epilogue has columnScales, w is int8 and weightType is the type to
 * which it is widened in registers.
 */
struct FewRowsArguments {
  int64_t rows, columns, depth;
  const void* x;
  DType xType;
  const void* weight;  // [columns, depth]
  DType weightType;
  bool weightChanges;  // an earlier kernel may write weight, norm or bias, so these are read only after the wait
  const float *normWeight, *normBias;  // [depth] or null
  float epsilon;
  Epilogue epilogue;
  void* y;
  DType yType;
  Prefetch prefetch{};
};
/** For 1 to 8 rows, and up to 32 if all blocks fit: row_product.cu. Without a norm, x has the weight's type. */
bool rowProductFits(const FewRowsArguments& arguments, const Launcher& launcher);
cudaError_t rowProduct(const FewRowsArguments& arguments, const Launcher& launcher);

/** For 1 to 64 rows, with clusters of blocks: cluster_product.cu. Without a norm, x has the weight's type. */
constexpr int64_t clusterProductRows = 64;
bool clusterProductFits(const FewRowsArguments& arguments, const Launcher& launcher);
cudaError_t clusterProduct(const FewRowsArguments& arguments, const Launcher& launcher);

/** For 1 to 4 rows, on any GPU and with any depth: matvec.cu. */
constexpr int64_t matvecRows = 4;
bool matvecFits(const FewRowsArguments& arguments, const Launcher& launcher);
cudaError_t matvec(const FewRowsArguments& arguments, const Launcher& launcher);

/** For 1 to 64 rows of the weight's type without a norm, on tensor cores: skinny.cu. */
struct SkinnyArguments {
  int64_t rows, columns, depth;
  const void* x;       // [rows, depth] in type `type`, aligned to 16 bytes
  const void* weight;  // [columns, depth]; int8 if there are columnScales, widened to `type`
  DType type;
  bool weightChanges;  // as in FewRowsArguments
  Epilogue epilogue;
  void* y;
  DType yType;
};
constexpr int64_t skinnyRows = 64;
bool skinnyFits(const SkinnyArguments& arguments);
cudaError_t skinny(const SkinnyArguments& arguments, const Launcher& launcher);

/** Strides of a product's matrices or rows: offset(z) = z / inner * outerStride + z % inner / shared * innerStride. */
struct Stepping {
  int64_t inner = 1, outerStride = 0, innerStride = 0, shared = 1;
};

/**
 * y[z][m, n] = epilogue(sum over k of a[z][m, k] b[z][n, k]), or b[z][k, n] if `bTransposed`: product.cu. Steppings
 * give the offsets of matrices, and of the rows of a and y; bStride is the distance between b's rows.
 */
struct ProductArguments {
  int64_t batch = 1, rows, columns, depth;
  /** Of a and b. With columnScales, b is int8 and widened to this type. With rowScales, it is int8 and both are; then
   * the depth and the strides of a's and b's rows must be even. */
  DType type;
  const void* a;
  Stepping aBatch{}, aRows{};
  const void* b;
  Stepping bBatch{};
  int64_t bStride;
  bool bTransposed = false;
  /** A convolution's rows extend beyond their sequence: elements before -aBegin (aBegin is negative or 0) and from
   * aLimit on are zero. */
  int64_t aBegin = 0, aLimit = 0;  // aLimit 0: no limit
  /** The depth of matrix z is at most start[z / startInner] (0 if that is negative) + startExtra: keys beyond it were
   * never written. */
  const int32_t* start = nullptr;
  int64_t startInner = 1, startExtra = 0;
  Epilogue epilogue;
  void* y;
  DType yType;
  Stepping yBatch{}, yRows{};
};
cudaError_t product(const ProductArguments& arguments, const Launcher& launcher);

/** y = activation(y) in place, after a product that has no such epilogue: activate.cu. */
cudaError_t activateInPlace(void* y, DType type, int64_t elements, Activation activation, const Launcher& launcher);

/** Quantizes x [rows, width], normalized if there is a norm (then it is float32), to y [rows, stride] with scales[row];
 * padding is zero: quantize_rows.cu. A row that is not finite has scale NaN. */
struct QuantizeRowsArguments {
  int64_t rows, width;
  const void* x;
  DType xType;
  const float *normWeight, *normBias;  // [width] or null
  float epsilon;
  int8_t* y;
  int64_t stride;
  float* scales;
  /** [rows] or null: rounding error relative to typical elements (see Backend::Quantized); -1 for rows of zeros. */
  float* lost = nullptr;
  bool aligned = false;  // whether x is; set by quantizeRows
};
cudaError_t quantizeRows(const QuantizeRowsArguments& arguments, const Launcher& launcher);

/** y = epilogue(sums) of int32 sums [rows, columns]; columns are a multiple of four. */
struct FinishSumsArguments {
  int64_t rows, columns;
  const int32_t* sums;
  Epilogue epilogue;
  void* y;
  DType yType;
};
cudaError_t finishSums(const FinishSumsArguments& arguments, const Launcher& launcher);

/** y[n, k] = scales[n] x[n, k]: widens an int8 weight. */
struct WidenRowsArguments {
  int64_t rows, width;
  const int8_t* x;
  const float* scales;
  void* y;
  DType yType;
  bool aligned = false;  // set by widenRows
};
cudaError_t widenRows(const WidenRowsArguments& arguments, const Launcher& launcher);

// Kernels that take `rows` and `pool` work on rows of a pool of state; see operations/operations.h. `rows` [batch] is
// null if entry b has row b; then `pool` is the number of entries. Rows are read on the device, so that a captured
// graph works for any rows.

/** The row of state that entry b works on; negative if it is idle. */
template <class Arguments>
ONEHEAD_EVERYWHERE int64_t stateRow(const Arguments& a, int64_t b) {
  if (!a.rows) return b;
  const int64_t row = a.rows[b];
  return row < a.pool ? row : -1;
}

/** Stages in order. Not a std::vector, since the kernels' host code may be compiled with another standard library than
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
/** The stages of an attention algorithm. */
AttentionStages attentionStages(const AttentionArguments& arguments);
Needs attentionNeeds(const AttentionArguments& arguments, const Launcher& launcher);
/** Launches the stage that the arguments name. */
cudaError_t attention(const AttentionArguments& arguments, const Launcher& launcher);

/** Copies rows of `width` elements between two Steppings, in any floating types: copy.cu. */
struct CopyRowsArguments {
  int64_t rows, width;
  const void* x;
  DType xType;
  Stepping xRows;
  void* y;
  DType yType;
  Stepping yRows;
  /** Each row moves by start[row / startInner] * startStride; not if that is at or beyond row `startRows`. */
  const int32_t* start = nullptr;
  int64_t startInner = 1, startStride = 0, startRows = 0;
};
cudaError_t copyRows(const CopyRowsArguments& arguments, const Launcher& launcher);

/** Permutes convolution weights [outputs, channels, kernel] to [outputs, kernel, channels], elements of 2 or 4 bytes.
 * */
struct PermuteArguments {
  int64_t outputs, channels, kernel;
  const void* x;
  void* y;
  size_t elementBytes;
};
cudaError_t permute(const PermuteArguments& arguments, const Launcher& launcher);

/** y[begin[b] + t] = x[b, t] for positions within y; nothing if begin[b] is negative. */
struct ScatterRowsArguments {
  int64_t batch, rows, positions;  // of x; of each sequence of x; of y
  int64_t width, stride;           // elements of a row of x; between rows of x
  const void* x;
  DType xType;
  const int32_t* begin;
  void* y;
  DType yType;  // a floating type, or x's type, which may be any
};
cudaError_t scatterRows(const ScatterRowsArguments& arguments, const Launcher& launcher);

/** Quantizes heads of rows into an int8 cache. Row t of batch b goes to position begin[b] + t if it is within the
 * positions; nothing if begin[b] is negative. If `stateful`, each sequence has its own positions, `stateRows` [batch]
 * (or null) gives the row of `begin` and of the cache, and a negative begin is 0, as the start of an attention is. */
struct QuantizeHeadsArguments {
  int64_t batch, rows, positions, heads, headSize;
  DType xType;
  int64_t batchStride, rowStride;  // of x, elements
  const int32_t* begin;
  /** One cache, or two with the same form: keys and values. */
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

/** Copies between ranges that do not overlap. */
cudaError_t copyBytes(void* to, const void* from, size_t bytes, const Launcher& launcher);

/** Fills memory with a byte, by a kernel, so that programs consist of kernels only. */
cudaError_t fillBytes(void* memory, size_t bytes, uint8_t value, const Launcher& launcher);

/** What the host polls while programs replay, in memory that both can access. */
struct Progress {
  volatile int64_t replays;
  volatile int64_t endedAt;  // number of replays when the flags ended the run; before: minus the flags set at the start
};
/** Counts a replay, and records whether all flags are set, or (`any`) more than at the start. */
cudaError_t publish(Progress* progress, const int32_t* flags, int64_t count, bool any, const Launcher& launcher);

}  // namespace onehead::cuda
