// Matrix products of many rows with oneDNN (2.x or 3.x).
#pragma once

#include <dnnl.hpp>
#include <memory>

#include "../core/addresses.h"
#include "../operations/operations.h"
#include "step.h"
#include "storage.h"

namespace onehead::cpu {

/** An input or output of a product, in plain memory with any strides. */
struct Operand {
  dnnl::memory::desc description;
  std::byte* data;       // null if it is in scratch memory
  size_t scratchOffset;  // bytes, if data is null
};

/** `linear` without its norm. x [rows, depth] is in the weight's type; null means that a previous step wrote it to the
 * start of the scratch memory. */
std::unique_ptr<Step> matrixProduct(const Linear& linear, std::byte* x, const dnnl::engine& engine,
                                    dnnl::stream& stream, const Addresses& addresses, size_t scratchBegin);

/** y = x w for a batch of matrices [..., rows, depth] and [..., depth, columns]; w may be broadcast. oneDNN's own
 * scratch begins at scratchBegin. */
std::unique_ptr<Step> batchedProduct(const Operand& x, const Operand& w, const Operand& y, const dnnl::engine& engine,
                                     dnnl::stream& stream, size_t scratchBegin);
std::string onednnVersion();

}  // namespace onehead::cpu
