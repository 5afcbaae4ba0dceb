// A decoder's layer as one kernel.
#pragma once

#include "cuda/preparation.h"

namespace onehead::cuda {

/**
 * Where the operations from `first` on are a decoder's layer for one row, and there is a kernel for all of it that is
 * predicted to be faster: adds it, and says how many operations it does. 0: they are to be prepared one by one.
 *
 * A layer is six operations, each of which takes what the one before gives: attention with its product and append, out,
 * cross-attention with its product, out, feed-forward up and down. Nothing else in the program may read what lies
 * between them, since the kernel does not write it.
 */
size_t prepareDecoderLayer(Preparation& p, const Plan& plan, size_t first);

}  // namespace onehead::cuda
