// `multi-query` and `multi-query-1`: MultiQuery and MultiQuery1 of BigCode's analysis of multi-query attention, with
// scale, mask and softmax, which the analysis leaves out. One key/value head serves all query heads, so the queries of
// all heads of a sequence are the rows of one product with the same keys:
//
//   1. new keys and values are appended to the cache, if there are any
//   2. multi-query-1, if the query is a view of columns and has several positions: it is copied to
//      [batch, length * heads, size]
//   3. values are copied if the cache may hold unwritten positions (see `sanitises_`)
//   4. scores = query key^T           float32 [batch, length, heads, keys]
//   5. weights = softmax(scores)      in the storage type
//   6. y = weights value
//
// multi-query-1 has length * heads rows with a single stride: a plain batched product. In multi-query the length comes
// before the batch, so a sequence's positions lie `batch` rows apart while its heads are adjacent. No single stride
// covers both, so either heads or positions become a second batch dimension that shares the keys.
#include "batched_attention.h"

#include <algorithm>
#include <cstring>

namespace onehead::cpu {

namespace {

using dnnl::memory;

/** The rows of a tensor; strides are in bytes. */
struct Rows {
  std::byte* data;
  int64_t batchStride, rowStride;
  std::byte* at(int64_t b, int64_t row) const { return data + b * batchStride + row * rowStride; }
};

/** Copies `count` rows of each sequence to row start[b] and the following, up to the capacity. */
struct CopyRows {
  int64_t batch, count;
  size_t width;  // bytes
  Rows from, to;
  const int32_t* start;  // null: 0
  int64_t capacity;      // rows of a sequence
};

void copyRows(const CopyRows& a, const Team& team) {
  Share share(a.batch * a.count, team);
  for (int64_t i = share.begin; i < share.end; ++i) {
    int64_t b = i / a.count, row = i % a.count;
    int64_t position = row + (a.start ? std::clamp<int64_t>(a.start[b], 0, a.capacity) : 0);
    if (position < a.capacity) std::memcpy(a.to.at(b, position), a.from.at(b, row), a.width);
  }
}

/** Copies the query to scratch memory, with the heads as rows. */
struct ReshapeQuery {
  CopyRows rows;
  size_t offset;
  void* scratch;
};

void reshapeQuery(const ReshapeQuery& a, const Team& team) {
  CopyRows rows = a.rows;
  rows.to.data = static_cast<std::byte*>(a.scratch) + a.offset;
  copyRows(rows, team);
}

/** Copies the values that some query of their sequence attends to, and writes zeros for the others. */
struct CopyVisible {
  int64_t batch, keys, queries;
  size_t width;  // bytes
  Rows from;
  const int32_t* start;
  size_t offset;
  void* scratch;
};

void copyVisible(const CopyVisible& a, const Team& team) {
  Share share(a.batch * a.keys, team);
  for (int64_t i = share.begin; i < share.end; ++i) {
    int64_t b = i / a.keys, row = i % a.keys;
    std::byte* to = static_cast<std::byte*>(a.scratch) + a.offset + size_t(i) * a.width;
    if (row < std::clamp<int64_t>(a.start[b], 0, a.keys) + a.queries)
      std::memcpy(to, a.from.at(b, row), a.width);
    else
      std::memset(to, 0, a.width);
  }
}

/** The softmax kernel on scores and weights at offsets of the scratch memory. */
struct SoftmaxStep {
  SoftmaxArguments softmax;
  size_t scores, weights;
  void* scratch;
  Kernel<SoftmaxArguments> kernel;
};

void softmaxStep(const SoftmaxStep& a, const Team& team) {
  SoftmaxArguments softmax = a.softmax;
  softmax.scores = reinterpret_cast<float*>(static_cast<std::byte*>(a.scratch) + a.scores);
  softmax.weights = static_cast<std::byte*>(a.scratch) + a.weights;
  a.kernel.run(softmax, team);
}

class BatchedAttention {
 public:
  BatchedAttention(const Attention& o, const Kernels& kernels, const dnnl::engine& engine, dnnl::stream& stream,
                   const Addresses& addresses)
      : o_(o),
        kernels_(kernels),
        engine_(engine),
        stream_(stream),
        addresses_(addresses),
        elementType_(o.query.dtype),
        type_(dnnlType(o.query.dtype)),
        element_(bytesOf(o.query.dtype)),
        // Without `start`, no causal query attends to a key beyond the last query.
        keys_(o.causal && !o.start ? o.queries() : o.keys()),
        reshapes_(!o.lengthFirst() && !o.query.contiguous() && o.queries() > 1),
        // The second product reads every value, and zero times NaN is NaN: unwritten cache contents must be kept out.
        sanitises_(o.causal && o.start),
        cut_(cut()) {
    int64_t scores = o.batch() * o.queries() * o.heads * keys_;
    if (reshapes_) query_ = reserve(o.query.elements() * element_);
    if (sanitises_) values_ = reserve(o.batch() * keys_ * o.headSize * element_);
    scores_ = reserve(scores * int64_t(sizeof(float)));
    weights_ = elementType_ == DType::float32 ? scores_ : reserve(scores * element_);
  }

  std::vector<std::unique_ptr<Step>> steps() {
    if (o_.newKey) {
      append(*o_.newKey, o_.key);
      append(*o_.newValue, o_.value);
    }
    if (reshapes_) {
      Rows to{nullptr, o_.queries() * o_.query.columns() * element_, o_.query.columns() * element_};
      kernel("split", ReshapeQuery{copy(o_.query, to, nullptr), query_, nullptr}, reshapeQuery);
    }
    if (sanitises_)
      kernel("copy values",
             CopyVisible{.batch = o_.batch(),
                         .keys = keys_,
                         .queries = o_.queries(),
                         .width = size_t(o_.headSize * element_),
                         .from = rows(o_.value),
                         .start = at<int32_t>(*o_.start),
                         .offset = values_,
                         .scratch = nullptr},
             copyVisible);
    const Strides matrix{keys_ * o_.heads * o_.queries(), keys_ * o_.heads, keys_};
    product("scores", query(), keys(), {ofQueries(keys_, matrix, memory::data_type::f32), nullptr, scores_});
    kernel("softmax",
           SoftmaxStep{.softmax = {.batch = o_.batch(),
                                   .queries = o_.queries(),
                                   .heads = o_.heads,
                                   .keys = keys_,
                                   .scores = nullptr,
                                   .weights = nullptr,
                                   .weightType = elementType_,
                                   .causal = o_.causal,
                                   .start = o_.start ? at<int32_t>(*o_.start) : nullptr,
                                   .scale = o_.scale},
                       .scores = scores_,
                       .weights = weights_,
                       .scratch = nullptr,
                       .kernel = kernels_.softmax},
           softmaxStep);
    product("values", {ofQueries(keys_, matrix, type_), nullptr, weights_}, values(),
            {ofQueries(o_.headSize, strides(o_.y), type_), addresses_.at(o_.y), 0});
    return std::move(steps_);
  }

 private:
  /** Elements between sequences, positions and heads of query, score matrix or output. */
  /** Elements between sequences, positions and heads. */
  struct Strides {
    int64_t batch, length, head;
  };
  /** Which dimensions form the rows of a matrix; the other one becomes a batch dimension. */
  enum class Cut { lengthAndHeads, length, heads };

  Cut cut() const {
    bool inOne = strides(o_.query).length == o_.query.columns() && strides(o_.y).length == o_.y.columns();
    if (inOne || reshapes_ || o_.queries() == 1) return Cut::lengthAndHeads;
    // The larger matrices are faster: with 32 positions and 6 heads the other way takes twice as long in bfloat16.
    return o_.queries() > o_.heads ? Cut::length : Cut::heads;
  }

  Strides strides(const Tensor& t) const { return {o_.batchStride(t), o_.lengthStride(t), o_.headSize}; }

  /** Matrices of queries, scores or outputs: [batch, (heads or positions,) rows, columns]. */
  memory::desc ofQueries(int64_t columns, const Strides& s, memory::data_type type) const {
    switch (cut_) {
      case Cut::lengthAndHeads:
        return {{o_.batch(), o_.queries() * o_.heads, columns}, type, memory::dims{s.batch, s.head, 1}};
      case Cut::length:
        return {{o_.batch(), o_.heads, o_.queries(), columns}, type, memory::dims{s.batch, s.head, s.length, 1}};
      case Cut::heads:
        return {{o_.batch(), o_.queries(), o_.heads, columns}, type, memory::dims{s.batch, s.length, s.head, 1}};
    }
    return {};
  }
  /** Matrices of keys or values, shared by all heads and positions: [batch, (1,) rows, columns]. */
  memory::desc shared(int64_t rows, int64_t columns, int64_t batchStride, int64_t rowStride,
                      int64_t columnStride) const {
    if (cut_ == Cut::lengthAndHeads)
      return {{o_.batch(), rows, columns}, type_, memory::dims{batchStride, rowStride, columnStride}};
    return {{o_.batch(), 1, rows, columns}, type_, memory::dims{batchStride, batchStride, rowStride, columnStride}};
  }

  Operand query() {
    if (!reshapes_) return {ofQueries(o_.headSize, strides(o_.query), type_), addresses_.at(o_.query), 0};
    int64_t width = o_.query.columns();
    return {ofQueries(o_.headSize, {o_.queries() * width, width, o_.headSize}, type_), nullptr, query_};
  }
  Operand keys() {
    return {shared(o_.headSize, keys_, o_.batchStride(o_.key), 1, o_.lengthStride(o_.key)), addresses_.at(o_.key), 0};
  }
  Operand values() {
    if (sanitises_) return {shared(keys_, o_.headSize, keys_ * o_.headSize, o_.headSize, 1), nullptr, values_};
    return {shared(keys_, o_.headSize, o_.batchStride(o_.value), o_.lengthStride(o_.value), 1), addresses_.at(o_.value),
            0};
  }

  Rows rows(const Tensor& t) { return {addresses_.at(t), o_.batchStride(t) * element_, o_.lengthStride(t) * element_}; }
  template <class T>
  T* at(const Tensor& t) {
    return reinterpret_cast<T*>(addresses_.at(t));
  }
  CopyRows copy(const Tensor& from, const Rows& to, const int32_t* start) {
    const int64_t capacity = start ? o_.keys() : o_.queries();
    return {.batch = o_.batch(),
            .count = o_.queries(),
            .width = size_t(from.columns() * element_),
            .from = rows(from),
            .to = to,
            .start = start,
            .capacity = capacity};
  }
  void append(const Tensor& from, const Tensor& to) {
    kernel("append", copy(from, rows(to), at<int32_t>(*o_.start)), copyRows);
  }

  /** Reserves scratch memory; returns its offset. */
  size_t reserve(int64_t bytes) {
    size_t offset = scratchEnd_;
    scratchEnd_ += aligned(size_t(bytes));
    return offset;
  }
  template <class Arguments>
  void kernel(const char* part, const Arguments& arguments, void (*function)(const Arguments&, const Team&)) {
    add(part, std::make_unique<KernelStep<Arguments>>(arguments, function, scratchEnd_));
  }
  void product(const char* part, const Operand& x, const Operand& w, const Operand& y) {
    add(part, batchedProduct(x, w, y, engine_, stream_, scratchEnd_));
  }
  void add(const char* part, std::unique_ptr<Step> step) {
    step->part = part;
    steps_.push_back(std::move(step));
  }

  const Attention& o_;
  const Kernels& kernels_;
  const dnnl::engine& engine_;
  dnnl::stream& stream_;
  const Addresses& addresses_;
  const DType elementType_;
  const memory::data_type type_;
  const int64_t element_;  // bytes
  const int64_t keys_;
  const bool reshapes_, sanitises_;
  const Cut cut_;
  size_t query_ = 0, values_ = 0, scores_ = 0, weights_ = 0, scratchEnd_ = 0;
  std::vector<std::unique_ptr<Step>> steps_;
};

}  // namespace

bool isBatchedAttention(const Attention& attention) {
  return attention.algorithm == AttentionAlgorithm::multiQuery ||
         attention.algorithm == AttentionAlgorithm::multiQueryReshaped;
}

std::vector<std::unique_ptr<Step>> batchedAttention(const Attention& attention, const Kernels& kernels,
                                                    const dnnl::engine& engine, dnnl::stream& stream,
                                                    const Addresses& addresses) {
  return BatchedAttention(attention, kernels, engine, stream, addresses).steps();
}

}  // namespace onehead::cpu
