// CPU storage: plain memory, or a constant that takes the layout its programs ask for.
#pragma once

#include <dnnl.hpp>
#include <memory>
#include <vector>

#include "kernels.h"
#include "memory.h"

namespace onehead::cpu {

/** The dtype, as one that the CPU computes in. Throws Error NOT_SUPPORTED where it does not. */
DType computedType(DType dtype, const std::string& operation);
/** oneDNN's type of a dtype. */
dnnl::memory::data_type dnnlType(DType dtype);
dnnl::memory::data_type typeOf(const dnnl::memory::desc& description);
dnnl::memory::dims shapeOf(const dnnl::memory::desc& description);

class CpuStorage final : public Storage {
 public:
  /** Mutable memory of zeros. */
  CpuStorage(size_t bytes, std::shared_ptr<MemoryCounter> counter);
  /** A constant that is read from its source when a program first needs it. */
  CpuStorage(Source source, DType dtype, const Shape& shape, const Kernels& kernels,
             std::shared_ptr<MemoryCounter> counter);

  /** A weight of 8 bits, in panels as linearBytes takes them. */
  CpuStorage(int64_t rows, int64_t columns, std::shared_ptr<MemoryCounter> counter);
  bool isQuantizedWeight() const override { return bool(panels_); }
  int8_t* panels() { return reinterpret_cast<int8_t*>(panels_.data()); }
  /** The row-major elements of panels. */
  std::vector<std::byte> unpacked() const;

  /** Row-major elements; made from the source or from a packed form when not there yet. */
  std::byte* plain();
  /**
   * A constant that is not plain in the layout that a oneDNN primitive wants. `like` describes the plain elements, as
   * the primitive's logical dimensions see them, in its type: the constant's, or float32. No plain form is kept.
   */
  dnnl::memory packed(const dnnl::memory::desc& wanted, const dnnl::memory::desc& like, const dnnl::engine& engine,
                      dnnl::stream& stream);
  /** True for mutable memory, and when a program reads a constant's row-major elements already, so that another layout
   * would be a second copy. */
  bool isPlain() const { return bool(plain_); }

 private:
  struct Packed {
    dnnl::memory memory;
    Buffer buffer;
    dnnl::memory::desc like;
  };

  Buffer assemble(DType dtype);
  bool isWidened(const dnnl::memory::desc& description) const { return typeOf(description) != dnnlType(dtype_); }

  Buffer plain_, panels_;
  int64_t columns_ = 0;  // of a weight in panels
  Source source_;
  DType dtype_ = DType::float32;
  const Kernels* kernels_ = nullptr;
  std::shared_ptr<MemoryCounter> counter_;
  std::vector<Packed> packed_;
};

}  // namespace onehead::cpu
