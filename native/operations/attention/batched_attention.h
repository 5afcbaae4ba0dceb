// Multi-query attention as two batched matrix products, with the score matrix in memory between them.
#pragma once

#include <memory>
#include <vector>

#include "cpu/products.h"

namespace onehead::cpu {

/** True for `multi-query` and `multi-query-1`. */
bool isBatchedAttention(const Attention& attention);
std::vector<std::unique_ptr<Step>> batchedAttention(const Attention& attention, const Kernels& kernels,
                                                    const dnnl::engine& engine, dnnl::stream& stream,
                                                    const Addresses& addresses);

}  // namespace onehead::cpu
