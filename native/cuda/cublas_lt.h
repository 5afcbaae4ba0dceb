// Large products with NVIDIA's cuBLASLt, opened at run time: without it the addon still loads, and product.cu is used.
// The declarations are our own; names, numbers and layouts are those of cublasLt.h, versions 12 and 13.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <memory>
#include <string>

#include "../core/dtype.h"

namespace onehead::cuda {

/** y = x weight^T + bias + residual: x [rows, depth], weight [columns, depth], y [rows, columns]. If x and weight are
 * int8, y is int32, and bias and residual are null. */
struct LargeProduct {
  int64_t rows, columns, depth;
  DType type;             // of x and weight
  const void* weight;     // null: passed to each run
  const void* bias;       // [columns] of y's type, or null
  const float* residual;  // [rows, columns], then y is float32; or null
  void* y;                // null: passed to each run
  DType yType;
};

class CublasLt {
 public:
  /** Workspace of its kernels, in bytes: NVIDIA's recommendation for compute capability 9.0. */
  static constexpr size_t workspaceBytes = size_t(32) << 20;

  /** The library's file name; empty if it cannot be opened. */
  static std::string find();
  /** Null if there is no library or it cannot be initialized. */
  static std::shared_ptr<CublasLt> open(int device);
  virtual ~CublasLt() = default;

  /** Device memory of a run; weight and y only if the product does not have them. */
  struct Buffers {
    const void* x;
    void* workspace;
    const void* weight = nullptr;
    void* y = nullptr;
  };
  /** Launches the product; returns the library's status, 0 for success. */
  using Run = std::function<int(const Buffers&, cudaStream_t stream)>;
  /** Describes a status for messages. */
  static std::string describe(int status);
  /** Buffers for timing algorithms; y and the workspace are overwritten. */
  struct Trial {
    Buffers buffers;
    cudaStream_t stream;  // idle
  };
  /** Chooses an algorithm for x with alignment `xAlignment` (bytes), and 256 bytes for buffers that are passed to each
   * run. Empty if there is none. With a trial, it is the fastest of those that the library ranks first, timed once per
   * shape in the process; otherwise the first. */
  virtual Run prepare(const LargeProduct& product, size_t xAlignment, const Trial* trial) = 0;
  /** Frees the library's resources. Prepared products are not run afterwards. */
  virtual void close() noexcept = 0;
};

}  // namespace onehead::cuda
