// The description of attention fused with the product before it.
#pragma once

#include "../attention/operation.h"
#include "../linear/operation.h"

namespace onehead {

/**
 * Attention and the product before it as one operation. The query, and if it appends newKey and newValue, are columns
 * of the projection's output, [query | key | value]. A backend without a fused kernel computes one after the other.
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
  /** Attention is checked against the device when its algorithm is chosen. */
  Reasons notSupported(const Capabilities& device) const { return projection.notSupported(device); }
  static constexpr bool takesQuantizedWeights = true;
};

#define ONEHEAD_PROJECTED_ATTENTION_OPERATIONS(operation) operation(ProjectedAttention, projectedAttention)

}  // namespace onehead
