// The algorithms that keep the score matrix in memory, as their sources have them:
//
// multi-head     scores [batch, heads, queries, keys]: a product for each head, a softmax, a product with the values
// multi-query    one key/value head, tensors [length, batch, ...] (Megatron's order): a sequence's rows are (query, head),
//                found through strides, nothing is copied; scores [batch, queries x heads, keys]
// multi-query-1  one key/value head, tensors [batch, length, ...]: the queries become [batch, queries x heads, size] by
//                one explicit copy (none where they lie so already), then plain batched products
//
// Bytes   float32 scores are written and read once, the weights (in the storage type) too: 12 bytes a score for halves.
// The sources leave out scale, mask and softmax; they are here. Keys that no query sees may be unwritten memory, so they
// are kept out of the second product: zero times NaN is NaN.
#include "attention.h"

namespace onehead::cuda {

namespace {

struct SoftmaxArguments {
  int64_t batch, rows, queries, heads, keys, stride;  // rows of a sequence: (head, query), or (query, head)
  bool queryFirst, causal;
  const int32_t* start;
  const float* scores;
  void* weights;
};

/** A warp a row: weights of visible keys, zeros behind them up to the stride. */
template <class T>
__global__ void __launch_bounds__(128) softmaxKernel(const __grid_constant__ SoftmaxArguments s) {
  letNextStart();
  waitForPrevious();
  const int lane = int(threadIdx.x) % 32;
  const int64_t row = int64_t(blockIdx.x) * 4 + threadIdx.x / 32;
  if (row >= s.batch * s.rows) return;
  const int64_t b = row / s.rows, inside = row % s.rows;
  const int64_t i = s.queryFirst ? inside / s.heads : inside % s.queries;
  const int64_t limit = s.causal ? least<int64_t>(s.keys, (s.start ? s.start[b] : 0) + i + 1) : s.keys;
  const float* scores = s.scores + row * s.stride;
  T* weights = static_cast<T*>(s.weights) + row * s.stride;
  float highest = -infinity, sum = 0;
  for (int64_t n = lane; n < limit; n += 32) highest = fmaxf(highest, scores[n]);
  highest = warpMax(highest);
  for (int64_t n = lane; n < limit; n += 32) sum += exp2Fast(scores[n] - highest);
  const float factor = 1.0f / warpSum(sum);
  for (int64_t n = lane; n < s.stride; n += 32)
    weights[n] = fromFloat<T>(n < limit ? exp2Fast(scores[n] - highest) * factor : 0.0f);
}

constexpr int64_t strideUnit = 8;  // rows of weights begin at 16 bytes

/** Where each matrix lies in the scratch memory. */
struct Layout {
  int64_t stride, elements;
  size_t weights = 0, query = 0, bytes = 0;
  bool reshapes;

  Layout(const AttentionArguments& a, AttentionAlgorithm algorithm) {
    stride = divideUp(a.keys, strideUnit) * strideUnit;
    elements = a.batch * a.heads * a.queries * stride;
    reshapes = algorithm == AttentionAlgorithm::multiQueryReshaped && a.q.rowStride != a.heads * a.headSize;
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

cudaError_t append(const AttentionArguments& a, const AttentionView& from, const AttentionView& to,
                   const Launcher& launcher) {
  CopyRowsArguments copy{};
  copy.rows = a.batch * a.queries;
  copy.width = a.keyValueHeads * a.headSize;
  copy.x = from.data;
  copy.xType = copy.yType = a.type;
  copy.xRows = {a.queries, from.batchStride, from.rowStride, 1};
  copy.y = const_cast<void*>(to.data);
  copy.yRows = {a.queries, to.batchStride, to.rowStride, 1};
  copy.start = a.start;
  copy.startInner = a.queries;
  copy.startStride = to.rowStride;
  copy.startRows = a.keys;
  return copyRows(copy, launcher);
}

}  // namespace

AttentionNeeds baselineNeeds(const AttentionArguments& a, AttentionAlgorithm algorithm) {
  return {Layout(a, algorithm).bytes, 0};
}

cudaError_t baselineAttention(const AttentionArguments& a, AttentionAlgorithm algorithm, const Launcher& launcher) {
  const Layout layout(a, algorithm);
  auto* scratch = static_cast<std::byte*>(a.scratch);
  const bool perHead = algorithm == AttentionAlgorithm::multiHead;
  cudaError_t error = cudaSuccess;
  auto then = [&](auto next) {
    if (error == cudaSuccess) error = next();
  };
  if (a.newKey.data) {
    then([&] { return append(a, a.newKey, a.k, launcher); });
    then([&] { return append(a, a.newValue, a.v, launcher); });
  }
  AttentionView query = a.q;
  if (layout.reshapes) {
    CopyRowsArguments copy{};
    copy.rows = a.batch * a.queries;
    copy.width = a.heads * a.headSize;
    copy.x = a.q.data;
    copy.xType = copy.yType = a.type;
    copy.xRows = {a.queries, a.q.batchStride, a.q.rowStride, 1};
    copy.y = scratch + layout.query;
    copy.yRows = {1, copy.width, 0, 1};
    then([&] { return copyRows(copy, launcher); });
    query = {scratch + layout.query, a.queries * copy.width, copy.width};
  }

  // Matrices of a batch, and rows of a matrix: with a head each, or with all heads as rows.
  const int64_t sharing = a.heads / a.keyValueHeads, size = a.headSize;
  auto matrices = [&](const AttentionView& view, int64_t shared) {
    return perHead ? Stepping{a.heads, view.batchStride, size, shared} : Stepping{1, view.batchStride, 0, 1};
  };
  auto rows = [&](const AttentionView& view) {
    return perHead ? Stepping{1, view.rowStride, 0, 1} : Stepping{a.heads, view.rowStride, size, 1};
  };
  const int64_t matrixRows = perHead ? a.queries : a.queries * a.heads;
  const Stepping scoreMatrices{1, matrixRows * layout.stride, 0, 1}, scoreRows{1, layout.stride, 0, 1};

  ProductArguments scores{};
  scores.batch = perHead ? a.batch * a.heads : a.batch;
  scores.rows = matrixRows;
  scores.columns = a.keys;
  scores.depth = size;
  scores.type = a.type;
  scores.a = query.data;
  scores.aBatch = matrices(query, 1);
  scores.aRows = rows(query);
  scores.b = a.k.data;
  scores.bBatch = matrices(a.k, sharing);
  scores.bStride = a.k.rowStride;
  scores.epilogue.scale = a.scale * log2E;
  scores.y = scratch;
  scores.yType = DType::float32;
  scores.yBatch = scoreMatrices;
  scores.yRows = scoreRows;
  then([&] { return product(scores, launcher); });

  SoftmaxArguments softmax{a.batch, a.queries * a.heads, a.queries, a.heads, a.keys, layout.stride, !perHead, a.causal,
                           a.start, reinterpret_cast<const float*>(scratch), scratch + layout.weights};
  const dim3 grid(unsigned(divideUp<int64_t>(softmax.batch * softmax.rows, 4)));
  then([&] {
    return withType(a.type, [&](auto element) {
      return launch(launcher, softmaxKernel<decltype(element)>, grid, dim3(128), 0, softmax);
    });
  });

  ProductArguments values{};
  values.batch = scores.batch;
  values.rows = matrixRows;
  values.columns = size;
  values.depth = a.causal && !a.start ? least(a.keys, a.queries) : a.keys;
  values.type = a.type;
  values.a = scratch + layout.weights;
  values.aBatch = scoreMatrices;
  values.aRows = scoreRows;
  values.b = a.v.data;
  values.bBatch = matrices(a.v, sharing);
  values.bStride = a.v.rowStride;
  values.bTransposed = true;
  if (a.causal && a.start) {
    values.start = a.start;
    values.startInner = perHead ? a.heads : 1;
    values.startExtra = a.queries;
  }
  values.y = const_cast<void*>(a.y.data);
  values.yType = a.type;
  values.yBatch = matrices(a.y, 1);
  values.yRows = rows(a.y);
  then([&] { return product(values, launcher); });
  return error;
}

}  // namespace onehead::cuda
