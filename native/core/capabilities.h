// What a device supports, as far as it decides whether an operation can be recorded. Each operation compares its
// requirements in `notSupported`, beside its description, and nowhere else.
#pragma once

#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "tensor.h"

namespace onehead {

/** Sentences that say why a device does not support something; empty if it does. */
using Reasons = std::vector<std::string>;

struct Capabilities {
  /** 'cpu', 'cuda', 'cuda-emulated'. */
  const char* device;
  /** Its name in sentences: 'the CPU'. */
  const char* title;
  /** The floating types in which it computes. */
  std::vector<DType> types;
  /** Head sizes of attention: from `minimum` to `maximum` in multiples of `step`. */
  struct HeadSizes {
    int64_t minimum, maximum, step;
  } headSizes;
  /** Required alignment of attention's rows, in bytes. */
  int64_t rowAlignment = 1;
  /** Weights of products must be in the device's memory, not in temporaries. */
  bool constantWeights = false;
  /** An int8 weight must come from Device.quantize, in a layout of the device's own. */
  bool ownWeightLayout = false;
  /** Shared memory per block, in bytes; some kernels keep a row of their input in it. */
  size_t sharedMemory = std::numeric_limits<size_t>::max();

  bool computesIn(DType type) const {
    for (DType one : types)
      if (one == type) return true;
    return false;
  }
  /** Adds a reason if it does not compute in one of these types. */
  void checkTypes(std::initializer_list<DType> given, Reasons& reasons) const;
  /** Adds a reason if it does not support a product's weight. `scales` are those of an int8 weight. */
  void checkWeight(const Tensor& weight, const std::optional<Tensor>& scales, Reasons& reasons) const;
  /** Adds a reason if `what` needs more shared memory than there is; `what` ends with the verb. */
  void checkSharedMemory(size_t bytes, const std::string& what, Reasons& reasons) const {
    if (bytes > sharedMemory) reasons.push_back(what + " more shared memory than this GPU has.");
  }
};

}  // namespace onehead
