// Large products by NVIDIA's cuBLASLt, opened at run time: the addon loads where it is absent, and our own product
// kernel takes over. The declarations are our own; names, numbers and layouts are those of cublasLt.h, versions 12
// and 13.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <memory>
#include <string>

#include "../core/dtype.h"

namespace onehead::cuda {

/** y = x weight^T + bias + residual: x [rows, depth], weight [columns, depth], y [rows, columns]. Of int8, y is int32,
 * and bias and residual are null. */
struct LargeProduct {
  int64_t rows, columns, depth;
  DType type;             // of x and weight
  const void* weight;     // null: where a run says
  const void* bias;       // [columns] of y's type, or null
  const float* residual;  // like y, which is float32 then; or null
  void* y;                // null: where a run says
  DType yType;
};

class CublasLt {
 public:
  /** Scratch memory that its kernels may use, bytes: what NVIDIA recommends for compute capability 9.0. */
  static constexpr size_t workspaceBytes = size_t(32) << 20;

  /** The library's name, where one can be opened; else empty. */
  static std::string find();
  /** Null where there is no library, or it does not work. */
  static std::shared_ptr<CublasLt> open(int device);
  virtual ~CublasLt() = default;

  /** Memory of the device; weight and y where the product names none. */
  struct Places {
    const void* x;
    void* workspace;
    const void* weight = nullptr;
    void* y = nullptr;
  };
  /** Gives the library's status: 0 is success. */
  using Run = std::function<int(const Places&, cudaStream_t stream)>;
  /** A status in words. */
  static std::string describe(int status);
  /** Where algorithms are tried: y and the workspace are overwritten. */
  struct Trial {
    Places places;
    cudaStream_t stream;  // idle
  };
  /** Chooses an algorithm for x at an address that is a multiple of `xAlignment` bytes, and for places that a run says
   * at multiples of 256; empty where there is none. With
   * a trial, the fastest of those that the library thinks of first, once for each shape in the process; else its first.
   */
  virtual Run prepare(const LargeProduct& product, size_t xAlignment, const Trial* trial) = 0;
  /** Frees what the library holds of the device. What was prepared is never run again. */
  virtual void close() noexcept = 0;
};

}  // namespace onehead::cuda
