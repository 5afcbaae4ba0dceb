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
  /** Where a product's weight lies; one of 8 bits may be in the device's own layout. */
  virtual const void* weight(const Tensor& tensor) const { return at(tensor); }

 protected:
  ~Addresses() = default;
};

}  // namespace onehead
