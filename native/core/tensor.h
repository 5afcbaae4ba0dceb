// Tensors: a typed, shaped view of memory that a backend owns, or of a temporary in a program's arena.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dtype.h"

namespace onehead {

using Shape = std::vector<int64_t>;

/** The most elements of a tensor: counts of its bytes do not overflow. */
constexpr int64_t maxElements = int64_t(1) << 40;

inline int64_t elementsOf(const Shape& shape) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return count;
}

inline std::string toString(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

/** Memory that a backend owns; freed when the last reference is released. */
class Storage {
 public:
  explicit Storage(size_t bytes) : bytes(bytes) {}
  virtual ~Storage() = default;
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  /** Whether it is an int8 weight in the device's own layout, which only products read. */
  virtual bool isQuantizedWeight() const { return false; }
  const size_t bytes;
};

/** Alignment of every tensor, in bytes: a cache line, and the widest vector. */
constexpr size_t tensorAlignment = 64;
/** `bytes` rounded up to the alignment. */
constexpr size_t aligned(size_t bytes) { return (bytes + tensorAlignment - 1) / tensorAlignment * tensorAlignment; }

/** The value of Tensor::temporary of tensors that have storage. */
constexpr int64_t noTemporary = -1;

struct Tensor {
  DType dtype = DType::float32;
  Shape shape;
  /** Elements between two rows of the last dimension; more than the row's size in a view of columns. */
  int64_t rowStride = 0;
  /** Elements from the start of the storage or temporary. */
  int64_t offset = 0;
  std::shared_ptr<Storage> storage;  // null for a temporary
  /** Index into the program's list of temporaries. */
  int64_t temporary = noTemporary;
  /** The recorder that a temporary belongs to; other recorders refuse it. */
  uint64_t recorder = 0;

  int64_t elements() const { return elementsOf(shape); }
  int64_t columns() const { return shape.empty() ? 1 : shape.back(); }
  int64_t rows() const { return columns() == 0 ? 0 : elements() / columns(); }
  size_t bytes() const { return size_t(elements()) * bytesOf(dtype); }
  bool contiguous() const { return rowStride == columns(); }
  /** The element after the last one. */
  int64_t end() const { return offset + (rows() - 1) * rowStride + columns(); }
  /** Whether elements of both lie in the same range of memory. */
  bool overlaps(const Tensor& other) const {
    const bool sameMemory = storage == other.storage && temporary == other.temporary && recorder == other.recorder;
    return sameMemory && elements() > 0 && other.elements() > 0 && offset < other.end() && other.offset < end();
  }
  bool isSame(const Tensor& other) const {
    return overlaps(other) && offset == other.offset && rowStride == other.rowStride && shape == other.shape;
  }
  std::string description() const { return std::string(nameOf(dtype)) + " " + toString(shape); }

  static Tensor of(DType dtype, Shape shape) {
    Tensor tensor;
    tensor.dtype = dtype;
    tensor.rowStride = shape.empty() ? 1 : shape.back();
    tensor.shape = std::move(shape);
    return tensor;
  }
};

}  // namespace onehead
