#include "operation.h"

#include "core/arguments.h"

namespace onehead {

/** The arguments of a product and those of attention, but for what the one gives the other; `appends` 1: its weight's
 * outputs are query, key and value. */
ProjectedAttention projectedAttention(const Arguments& arguments) {
  Request rest = arguments.handOn(), product{rest.operation, rest.label, {}, {}, {}};
  auto move = [](auto& from, auto& to, std::initializer_list<const char*> names) {
    for (const char* name : names)
      if (auto found = from.extract(name)) to.insert(std::move(found));
  };
  move(rest.tensors, product.tensors, {"x", "weight", "weightScales", "bias", "normWeight", "normBias"});
  move(rest.numbers, product.numbers, {"epsilon", "quantized"});
  move(rest.strings, product.strings, {"dtype"});
  const Arguments given(product, arguments.recorder());
  ProjectedAttention made{linear(given), {}};
  given.refuseUnread();
  const Tensor& y = made.projection.y;
  const int64_t shared = arguments.integer("appends", 0, 1, 0) ? arguments.tensor("key", 3, true).columns() : 0;
  rest.numbers.erase("appends");
  if (y.shape.size() != 3 || y.columns() <= 2 * shared)
    arguments.refuse("INVALID_SHAPE", "weight", "[query, key and value columns, width] for x [batch, length, width]",
                     toString(made.projection.weight.shape));
  auto columns = [&](int64_t begin, int64_t count) {
    Tensor view = y;
    view.offset += begin;
    view.shape.back() = count;
    return view;
  };
  const int64_t width = y.columns() - 2 * shared;
  for (const char* taken : {"query", "newKey", "newValue"})
    if (arguments.has(taken)) arguments.refuse("INVALID_ARGUMENT", taken, "absent: the product makes it", "a tensor");
  rest.tensors.emplace("query", columns(0, width));
  if (shared) {
    rest.tensors.emplace("newKey", columns(width, shared));
    rest.tensors.emplace("newValue", columns(width + shared, shared));
  }
  const Arguments left(rest, arguments.recorder());
  made.attention = attention(left);
  left.refuseUnread();
  return made;
}

}  // namespace onehead
