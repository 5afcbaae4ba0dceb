// Where the tensors of a program lie, for the arguments of its kernels.
#pragma once

#include <cstddef>
#include <optional>

#include "tensor.h"

namespace onehead {

class Addresses {
 public:
  virtual std::byte* at(const Tensor& tensor) const = 0;
  template <class T>
  T* at(const Tensor& tensor) const {
    return reinterpret_cast<T*>(at(tensor));
  }
  /** Null where the tensor was not given. */
  template <class T>
  T* at(const std::optional<Tensor>& tensor) const {
    return tensor ? at<T>(*tensor) : nullptr;
  }
  /** A tensor's type, as one that the device computes in. Throws Error NOT_SUPPORTED where it does not. */
  virtual DType type(const Tensor& tensor) const = 0;

 protected:
  ~Addresses() = default;
};

}  // namespace onehead
