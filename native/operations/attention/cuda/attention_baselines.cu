// The algorithms that keep the score matrix in memory, as in their sources:
//
// multi-head     scores [batch, heads, queries, keys]: a product for each head, a softmax, a product with the values
//                (as in Hugging Face transformers' Whisper)
// multi-query    one key/value head, tensors [length, batch, ...] (Megatron-LM's order): the rows of a sequence are
//                (query, head), addressed with strides and without a copy; scores [batch, queries x heads, keys]
// multi-query-1  one key/value head, tensors [batch, length, ...]: the queries are copied to
//                [batch, queries x heads, size] unless they already lie that way, then plain batched products
//
// Bytes   float32 scores and the weights (in the storage type) are each written once and read once: 12 bytes per score
//         for half types
// Launch  product.cu computes the products and copy.cu the copies; the softmax has one warp per row, four rows per
//         block
//
// The sources leave out scale, mask and softmax; here they are included. Positions that no query sees may be
// unwritten memory, so the second product must not read them: zero times NaN is NaN.
//
// History
//   Passed its tests on an H200 (commit 1dabc91); never timed there. This is the baseline of comparisons, so it is kept
//   as in its sources.
#include "attention.h"

namespace onehead::cuda {

namespace {

struct SoftmaxArguments {
  AttentionArguments attention;
  int64_t stride;
  bool queryFirst;  // rows of a sequence are (query, head) instead of (head, query)
  const float* scores;
  void* weights;
};

/** One warp per row: the weights of visible keys, and zeros up to the stride. */
template <class T>
__global__ void __launch_bounds__(128) softmaxKernel(const __grid_constant__ SoftmaxArguments s) {
  letNextKernelStart();
  waitForPreviousKernel();
  const int lane = int(threadIdx.x) % 32;
  const int64_t row = int64_t(blockIdx.x) * 4 + threadIdx.x / 32;
  const AttentionArguments& a = s.attention;
  const int64_t rows = a.heads * a.queries, b = row / rows, rowInSequence = row % rows;
  if (b >= a.batch) return;
  const int64_t i = s.queryFirst ? rowInSequence / a.heads : rowInSequence % a.queries;
  const int64_t limit = visibleKeys(a, startOf(a, b), i);
  const float* scores = s.scores + row * s.stride;
  T* weights = static_cast<T*>(s.weights) + row * s.stride;
  if (float* to = scoresOf(a, b, i, s.queryFirst ? rowInSequence % a.heads : rowInSequence / a.queries))
    for (int64_t n = lane; n < limit; n += 32) to[n] = scores[n] * ln2;
  float maximum = -infinity, sum = 0;
  for (int64_t n = lane; n < limit; n += 32) maximum = fmaxf(maximum, scores[n]);
  maximum = warpMax(maximum);
  for (int64_t n = lane; n < limit; n += 32) sum += exp2Fast(scores[n] - maximum);
  const float factor = 1.0f / warpSum(sum);
  for (int64_t n = lane; n < s.stride; n += 32)
    weights[n] = fromFloat<T>(n < limit ? exp2Fast(scores[n] - maximum) * factor : 0.0f);
}

constexpr int64_t strideUnit = 8;  // aligns rows of half-precision weights to 16 bytes

/** Offsets of the matrices in scratch memory. */
struct Layout {
  int64_t stride, elements;
  size_t weights = 0, query = 0, bytes = 0;
  bool reshapes;

  explicit Layout(const AttentionArguments& a) {
    stride = divideUp(a.keys, strideUnit) * strideUnit;
    elements = a.batch * a.heads * a.queries * stride;
    reshapes = a.algorithm == AttentionAlgorithm::multiQueryReshaped && a.q.rowStride != a.heads * a.headSize;
    auto reserve = [&](int64_t size) {
      const size_t begin = bytes;
      bytes += divideUp<size_t>(size_t(size), 256) * 256;
      return begin;
    };
    reserve(elements * int64_t(sizeof(float)));
    if (a.type != DType::float32) weights = reserve(elements * int64_t(bytesOf(a.type)));
    if (reshapes) query = reserve(a.batch * a.queries * a.heads * a.headSize * int64_t(bytesOf(a.type)));
  }
};

/** The stages of one attention. */
class Baseline {
 public:
  Baseline(const AttentionArguments& a, const Launcher& launcher)
      : a_(a),
        launcher_(launcher),
        layout_(a),
        perHead_(a.algorithm == AttentionAlgorithm::multiHead),
        scratch_(static_cast<std::byte*>(a.scratch)),
        matrixRows_(perHead_ ? a.queries : a.queries * a.heads) {}

  cudaError_t append() {
    const cudaError_t error = append(a_.newKey, a_.k);
    return error == cudaSuccess ? append(a_.newValue, a_.v) : error;
  }

  cudaError_t reshape() {
    CopyRowsArguments copy = rowsOf(a_.q, a_.heads * a_.headSize);
    copy.y = scratch_ + layout_.query;
    copy.yRows = {1, copy.width, 0, 1};
    return copyRows(copy, launcher_);
  }

  cudaError_t scores() {
    AttentionView query = a_.q;
    const int64_t width = a_.heads * a_.headSize;
    if (layout_.reshapes) query = {scratch_ + layout_.query, a_.queries * width, width};
    ProductArguments p = product();
    p.columns = a_.keys;
    p.depth = a_.headSize;
    p.a = query.data;
    p.aBatch = matrices(query, 1);
    p.aRows = rows(query);
    p.b = a_.k.data;
    p.bBatch = matrices(a_.k, a_.heads / a_.keyValueHeads);
    p.bStride = a_.k.rowStride;
    p.epilogue.scale = a_.scale * log2E;
    p.y = scratch_;
    p.yType = DType::float32;
    p.yBatch = scoreMatrices();
    p.yRows = scoreRows();
    return cuda::product(p, launcher_);
  }

  cudaError_t softmax() {
    const SoftmaxArguments s{a_, layout_.stride, !perHead_, reinterpret_cast<const float*>(scratch_),
                             scratch_ + layout_.weights};
    const dim3 grid(unsigned(divideUp<int64_t>(a_.batch * a_.heads * a_.queries, 4)));
    return withType(a_.type, [&](auto element) {
      return launch(launcher_, softmaxKernel<decltype(element)>, grid, dim3(128), 0, s);
    });
  }

  cudaError_t values() {
    ProductArguments p = product();
    p.columns = a_.headSize;
    p.depth = a_.causal && !a_.start ? min(a_.keys, a_.queries) : a_.keys;
    p.a = scratch_ + layout_.weights;
    p.aBatch = scoreMatrices();
    p.aRows = scoreRows();
    p.b = a_.v.data;
    p.bBatch = matrices(a_.v, a_.heads / a_.keyValueHeads);
    p.bStride = a_.v.rowStride;
    p.bTransposed = true;
    if (a_.causal && a_.start) {
      p.start = a_.start;
      p.startInner = perHead_ ? a_.heads : 1;
      p.startExtra = a_.queries;
    }
    p.y = const_cast<void*>(a_.y.data);
    p.yType = a_.type;
    p.yBatch = matrices(a_.y, 1);
    p.yRows = rows(a_.y);
    return cuda::product(p, launcher_);
  }

 private:
  CopyRowsArguments rowsOf(const AttentionView& view, int64_t width) const {
    CopyRowsArguments copy{};
    copy.rows = a_.batch * a_.queries;
    copy.width = width;
    copy.x = view.data;
    copy.xType = copy.yType = a_.type;
    copy.xRows = {a_.queries, view.batchStride, view.rowStride, 1};
    return copy;
  }
  cudaError_t append(const AttentionView& from, const AttentionView& to) {
    CopyRowsArguments copy = rowsOf(from, a_.keyValueHeads * a_.headSize);
    copy.y = const_cast<void*>(to.data);
    copy.yRows = {a_.queries, to.batchStride, to.rowStride, 1};
    copy.start = a_.start;
    copy.startInner = a_.queries;
    copy.startStride = to.rowStride;
    copy.startRows = a_.keys;
    return copyRows(copy, launcher_);
  }
  ProductArguments product() const {
    ProductArguments p{};
    p.batch = perHead_ ? a_.batch * a_.heads : a_.batch;
    p.rows = matrixRows_;
    p.type = a_.type;
    return p;
  }
  // A batch has one matrix per head, or one matrix with all heads as rows.
  Stepping matrices(const AttentionView& view, int64_t shared) const {
    return perHead_ ? Stepping{a_.heads, view.batchStride, a_.headSize, shared} : Stepping{1, view.batchStride, 0, 1};
  }
  Stepping rows(const AttentionView& view) const {
    return perHead_ ? Stepping{1, view.rowStride, 0, 1} : Stepping{a_.heads, view.rowStride, a_.headSize, 1};
  }
  Stepping scoreMatrices() const { return {1, matrixRows_ * layout_.stride, 0, 1}; }
  Stepping scoreRows() const { return {1, layout_.stride, 0, 1}; }

  const AttentionArguments& a_;
  const Launcher& launcher_;
  const Layout layout_;
  const bool perHead_;
  std::byte* const scratch_;
  const int64_t matrixRows_;
};

}  // namespace

Needs baselineNeeds(const AttentionArguments& a) { return {Layout(a).bytes, 0}; }

AttentionStages baselineStages(const AttentionArguments& a) {
  AttentionStages stages;
  if (a.newKey.data) stages.add(AttentionStage::append);
  if (Layout(a).reshapes) stages.add(AttentionStage::reshape);
  for (AttentionStage stage : {AttentionStage::scores, AttentionStage::softmax, AttentionStage::values})
    stages.add(stage);
  return stages;
}

cudaError_t baselineAttention(const AttentionArguments& a, const Launcher& launcher) {
  Baseline baseline(a, launcher);
  switch (a.stage) {
    case AttentionStage::append:
      return baseline.append();
    case AttentionStage::reshape:
      return baseline.reshape();
    case AttentionStage::scores:
      return baseline.scores();
    case AttentionStage::softmax:
      return baseline.softmax();
    case AttentionStage::values:
      return baseline.values();
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace onehead::cuda
