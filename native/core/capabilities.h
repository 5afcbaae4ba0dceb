// What a device computes, as far as it decides whether an operation can be recorded. Each operation says beside its
// description, in `notSupported`, what it asks of a device, and nobody says it again.
#pragma once

#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "tensor.h"

namespace onehead {

/** Sentences: why a device cannot compute something. It can where there are none. */
using Reasons = std::vector<std::string>;

struct Capabilities {
  /** 'cpu', 'cuda', 'cuda-emulated'. */
  const char* device;
  /** As sentences name it: 'the CPU'. */
  const char* title;
  /** The floating types that it computes in. */
  std::vector<DType> types;
  /** Sizes of a head that attention takes: from `least` to `most`, multiples of `step`. */
  struct HeadSizes {
    int64_t least, most, step;
  } headSizes;
  /** Attention's rows begin at multiples of so many bytes. */
  int64_t rowAlignment = 1;
  /** Weights of products are in the device's memory, never temporaries. */
  bool constantWeights = false;
  /** A weight of 8 bits is one that Device.quantize gave: it lies in a layout of the device's own. */
  bool ownWeightLayout = false;
  /** Bytes of shared memory of a block, in which some kernels keep a row of their input. */
  size_t sharedMemory = std::numeric_limits<size_t>::max();
  /** Rows up to which attention and the product before it are one kernel. */
  int64_t projectedRows = 0;

  bool computesIn(DType type) const {
    for (DType one : types)
      if (one == type) return true;
    return false;
  }
  /** Adds a sentence where one of these is a type that it does not compute in. */
  void checkTypes(std::initializer_list<DType> given, Reasons& reasons) const;
  /** Adds a sentence where a product's weight is not one that it takes; `scales` where that is of 8 bits. */
  void checkWeight(const Tensor& weight, const std::optional<Tensor>& scales, Reasons& reasons) const;
  /** Adds a sentence where `what` takes more shared memory than there is. */
  void checkSharedMemory(size_t bytes, const std::string& what, Reasons& reasons) const {
    if (bytes > sharedMemory) reasons.push_back(what + " more shared memory than this GPU has.");
  }
};

}  // namespace onehead
