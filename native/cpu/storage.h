// CPU storage: plain memory, or a constant in the layouts that programs need.
#pragma once

#include <dnnl.hpp>
#include <memory>
#include <vector>

#include "kernels.h"
#include "memory.h"

namespace onehead::cpu {

/** Returns the type if the CPU computes in it. Throws Error NOT_SUPPORTED otherwise. */
DType computedType(DType dtype, const std::string& operation);
/** oneDNN's name of the type. */
dnnl::memory::data_type dnnlType(DType dtype);
dnnl::memory::data_type typeOf(const dnnl::memory::desc& description);
dnnl::memory::dims shapeOf(const dnnl::memory::desc& description);

class CpuStorage final : public Storage {
 public:
  /** Mutable memory, zeroed. */
  CpuStorage(size_t bytes, std::shared_ptr<MemoryCounter> counter);
  /** A constant, read from its source when a program first needs it. */
  CpuStorage(Source source, DType dtype, const Shape& shape, const Kernels& kernels,
             std::shared_ptr<MemoryCounter> counter);

  /** An int8 weight, in the panels that linearBytes reads. */
  CpuStorage(int64_t rows, int64_t columns, std::shared_ptr<MemoryCounter> counter);
  bool isQuantizedWeight() const override { return bool(panels_); }
  int8_t* panels() { return reinterpret_cast<int8_t*>(panels_.data()); }
  /** The elements of the panels, row-major. */
  std::vector<std::byte> unpacked() const;

  /** Row-major elements; made from the source or from a packed layout if they do not exist yet. */
  std::byte* plain();
  /**
   * A constant that is not plain, in the layout that a oneDNN primitive wants. `like` describes the row-major elements
   * with the primitive's dimensions, in its type: the constant's, or float32. Row-major elements are not kept.
   */
  dnnl::memory packed(const dnnl::memory::desc& wanted, const dnnl::memory::desc& like, const dnnl::engine& engine,
                      dnnl::stream& stream);
  /** A constant of bfloat16 that is not plain, in the panels that linearInt16 reads, and the scales of its rows. The
   * source stays open, since these are not the same numbers. `kernel`: a row [channels, kernel] of a convolution's
   * weight is stored as [kernel, channels]. */
  struct Int16Panels {
    const int16_t* elements;
    const float* scales;
  };
  Int16Panels int16Panels(int64_t rows, int64_t columns, int64_t kernel = 1);
  /** Whether the constant may get another layout than row-major, for a product with all of it. */
  bool packs(const Tensor& weight) const;
  /** True for mutable memory, and if a program reads a constant's row-major elements: another layout would then be a
   * second copy. */
  bool isPlain() const { return bool(plain_); }

 private:
  struct Packed {
    dnnl::memory memory;
    Buffer buffer;
    dnnl::memory::desc like;
  };

  Buffer assemble(DType dtype);
  bool isWidened(const dnnl::memory::desc& description) const { return typeOf(description) != dnnlType(dtype_); }

  Buffer plain_, panels_, int16Panels_;
  int64_t columns_ = 0;  // of a weight in panels
  Source source_;
  DType dtype_ = DType::float32;
  const Kernels* kernels_ = nullptr;
  std::shared_ptr<MemoryCounter> counter_;
  std::vector<Packed> packed_;
};

}  // namespace onehead::cpu
