// Matrix products with many rows, on oneDNN (2.x and 3.x).
#pragma once

#include <dnnl.hpp>
#include <memory>

#include "../core/addresses.h"
#include "../operations/operations.h"
#include "step.h"
#include "storage.h"

namespace onehead::cpu {

/** What a product reads or writes, in plain memory of any strides. */
struct Operand {
  dnnl::memory::desc description;
  std::byte* data;       // null: in the scratch memory
  size_t scratchOffset;  // bytes, where data is null
};

/** linear without its norm: x [rows, depth] in the weight's dtype at `x`, or found in scratch when null (put there by a
 * step before). */
std::unique_ptr<Step> matrixProduct(const Linear& linear, std::byte* x, const dnnl::engine& engine,
                                    dnnl::stream& stream, const Addresses& addresses, size_t scratchBegin);

/** y = x w for each of a batch of matrices [..., rows, depth] and [..., depth, columns]; of w there may be one where x
 * has several. oneDNN's own scratch begins at scratchBegin. */
std::unique_ptr<Step> batchedProduct(const Operand& x, const Operand& w, const Operand& y, const dnnl::engine& engine,
                                     dnnl::stream& stream, size_t scratchBegin);
std::string onednnVersion();

}  // namespace onehead::cpu
