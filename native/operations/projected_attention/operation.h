// Attention with the product before it. Shapes, and rows of a pool: ../operations.h.
#pragma once

#include "../attention/operation.h"
#include "../linear/operation.h"

namespace onehead {

/**
 * Attention and the product before it as one operation: query, and where it appends newKey and newValue, are columns of
 * the projection's y, [query | key | value]. A backend without a kernel for both does one after the other.
 */
struct ProjectedAttention {
  Linear projection;
  Attention attention;
  void tensors(auto visit) const {
    projection.tensors(visit);
    attention.tensors(visit);
  }
  void written(auto visit) const {
    attention.written(visit);
    projection.written(visit);
  }
  /** Attention's algorithm is chosen for the device when it is checked. */
  Reasons notSupported(const Capabilities& device) const { return projection.notSupported(device); }
  static constexpr bool takesQuantizedWeights = true;
};

#define ONEHEAD_PROJECTED_ATTENTION_OPERATIONS(operation) operation(ProjectedAttention, projectedAttention)

}  // namespace onehead
