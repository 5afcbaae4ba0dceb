// Detects a decoder layer in a program and computes it with one kernel.
#pragma once

#include "cuda/preparation.h"

namespace onehead::cuda {

/**
 * If the operations from `first` on are a decoder layer for one row, and the layer's kernel supports them and is
 * predicted to be faster, adds the kernel and returns how many operations it replaces. Otherwise returns 0, and the
 * operations are prepared one by one.
 *
 * A layer has six operations, each of which takes the previous one's result: self-attention with its product and
 * append, out, cross-attention with its product, out, feed-forward up and down. Nothing else in the program may read
 * the intermediate results, since the kernel does not write them to memory.
 */
size_t prepareDecoderLayer(Preparation& p, const Plan& plan, size_t first);

}  // namespace onehead::cuda
