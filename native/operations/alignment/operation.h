// When each token was said. Shapes, and rows of a pool: ../operations.h.
#pragma once

#include <optional>

#include "arguments.h"
#include "core/capabilities.h"
#include "core/kinds.h"
#include "core/tensor.h"

namespace onehead {

/**
 * When each position of a text was said, from attention's scores of the alignment heads: openai/whisper's
 * find_alignment. scores float32 [R, P, A, N] are Attention's; source int32 [S, P] says in which row of them position p
 * of sequence s lies; begin, end and frames, int32 [S]: positions begin ... end - 1 and keys 0 ... frames - 1 count.
 * For each head: the softmax over the counted keys; each key's column less its mean over the counted positions, over
 * its standard deviation (0 where that is 0); a median filter of odd width `medianWidth` along the keys, mirrored at
 * both ends without the edge, and left out where frames <= medianWidth / 2. The mean over the heads, negated, is the
 * cost matrix of a dynamic time warping in float32 from the first position and key to the last, each step going one
 * position, one key or both on; among equal ways a key, then a position.
 * -> y int32 [S, P]: at each counted position the first key on its way; elsewhere left as it was.
 */
struct AlignPositions {
  Tensor scores, source, begin, end, frames;
  int64_t medianWidth;
  Tensor y;
  void tensors(auto visit) const { visit(scores, source, begin, end, frames, y); }
  void written(auto visit) const { visit(y); }
  Reasons notSupported(const Capabilities& device) const;
};

/**
 * Adds up attention's weights over layers and heads. scores float32 [S, 1, H, N] are one layer's, as Attention gives
 * them out. Of each entry, int32 [B]: from is its row of scores, to its row of y, position where in that it writes, and
 * keys how many of its keys count. With rows int32 [B] these are [pool], and rows says which row of the pool an entry
 * is. Nothing where anything lies outside. y float32 [R, P, N]: y[r, p] = (y[r, p] or, where `fresh`, 0) + factor * the
 * sum over the heads of the softmax over the counted keys; 0 is added to the others.
 */
struct AddWeights {
  Tensor scores, from, to, position, keys;
  std::optional<Tensor> rows;
  float factor;
  bool fresh;
  Tensor y;
  void tensors(auto visit) const { visit(scores, from, to, position, keys, rows, y); }
  void written(auto visit) const { visit(y); }
  Reasons notSupported(const Capabilities& device) const;
};

#define ONEHEAD_ALIGNMENT_OPERATIONS(operation) ONEHEAD_ALIGNMENT_KERNELS(operation, operation)

}  // namespace onehead
