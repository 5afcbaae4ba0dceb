// The descriptions of token alignment. ../operations.h explains the letters of shapes, and rows of a pool.
#pragma once

#include <optional>

#include "arguments.h"
#include "core/capabilities.h"
#include "core/kinds.h"
#include "core/tensor.h"

namespace onehead {

/**
 * The time of each position of a text, from the scores of the alignment heads: openai/whisper's find_alignment.
 * scores float32 [R, P, A, N] are attention's. source int32 [S, P]: the row of scores that holds position p of sequence
 * s. begin, end and frames int32 [S]: positions begin ... end - 1 and keys 0 ... frames - 1 are aligned.
 *
 * For each head: a softmax over the keys; then each key's column is standardized over the positions (0 if its standard
 * deviation is 0); then a median filter of odd width `medianWidth` along the keys, with reflection at both ends,
 * skipped if frames <= medianWidth / 2. The negated mean over the heads is the cost matrix of a dynamic time warping in
 * float32 from the first position and key to the last. A step advances the position, the key, or both; of equal paths
 * it prefers advancing the key, then the position.
 *
 * -> y int32 [S, P]: for each aligned position the first key on its path; other elements are left unchanged.
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
 * Sums attention weights over layers and heads. scores float32 [S, 1, H, N] are one layer's, as attention writes them.
 * State int32 [B]: `from` is an entry's row of scores, `to` its row of y, `position` the position in that row, and
 * `keys` its number of visible keys. With rows int32 [B], state is [pool], and rows gives each entry's row of it. If
 * any of these is out of range, the entry is skipped.
 * y float32 [R, P, N]: y[r, p] = (0 if `fresh`, else y[r, p]) + factor * the sum over heads of the softmax over the
 * visible keys; nothing is added to the other keys.
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
