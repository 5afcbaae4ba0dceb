#include "operation.h"

#include "core/arguments.h"

namespace onehead {

/** Reads the arguments of a product and of attention, except for those that the product provides. `appends` 1: the
 * outputs of the weight are query, key and value. */
ProjectedAttention projectedAttention(const Arguments& arguments) {
  Request rest = arguments.handOn(), product{rest.operation, rest.label, {}, {}, {}};
  auto move = [](auto& from, auto& to, std::initializer_list<const char*> names) {
    for (const char* name : names)
      if (auto found = from.extract(name)) to.insert(std::move(found));
  };
  move(rest.tensors, product.tensors, {"x", "weight", "weightScales", "bias", "normWeight", "normBias"});
  move(rest.numbers, product.numbers, {"epsilon", "quantized"});
  move(rest.strings, product.strings, {"dtype"});
  const Arguments productArguments(product, arguments.recorder());
  ProjectedAttention result{linear(productArguments), {}};
  productArguments.refuseUnread();
  const Tensor& y = result.projection.y;
  const int64_t shared = arguments.integer("appends", 0, 1, 0) ? arguments.tensor("key", 3, true).columns() : 0;
  rest.numbers.erase("appends");
  if (y.shape.size() != 3 || y.columns() <= 2 * shared)
    arguments.refuse("INVALID_SHAPE", "weight", "[query, key and value columns, width] for x [batch, length, width]",
                     toString(result.projection.weight.shape));
  auto columns = [&](int64_t begin, int64_t count) {
    Tensor view = y;
    view.offset += begin;
    view.shape.back() = count;
    return view;
  };
  const int64_t width = y.columns() - 2 * shared;
  for (const char* taken : {"query", "newKey", "newValue"})
    if (arguments.has(taken))
      arguments.refuse("INVALID_ARGUMENT", taken, "absent, since the product computes it,", "a tensor");
  rest.tensors.emplace("query", columns(0, width));
  if (shared) {
    rest.tensors.emplace("newKey", columns(width, shared));
    rest.tensors.emplace("newValue", columns(width + shared, shared));
  }
  const Arguments attentionArguments(rest, arguments.recorder());
  result.attention = attention(attentionArguments);
  attentionArguments.refuseUnread();
  return result;
}

}  // namespace onehead
