// Addresses of a program's tensors, for the arguments of kernels.
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
  /** Null if the tensor is absent. */
  template <class T>
  T* at(const std::optional<Tensor>& tensor) const {
    return tensor ? at<T>(*tensor) : nullptr;
  }
  /** The address of a product's weight; an int8 weight may be in the device's own layout. */
  virtual const void* weight(const Tensor& tensor) const { return at(tensor); }

 protected:
  ~Addresses() = default;
};

}  // namespace onehead
