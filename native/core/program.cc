#include "program.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "error.h"

namespace onehead {

namespace {

/** Assigns offsets, largest temporary first, each at the lowest offset that no temporary alive at that time covers. */
size_t planArena(std::vector<Temporary>& temporaries) {
  std::vector<Temporary*> order;
  for (Temporary& temporary : temporaries)
    if (temporary.firstUse >= 0) order.push_back(&temporary);
  std::stable_sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->bytes > b->bytes; });
  size_t arena = 0;
  std::vector<Temporary*> placed;  // by offset
  for (Temporary* temporary : order) {
    size_t bytes = aligned(temporary->bytes), offset = 0;
    for (Temporary* other : placed) {
      if (other->lastUse < temporary->firstUse || temporary->lastUse < other->firstUse) continue;
      if (offset + bytes <= other->offset) break;
      offset = std::max(offset, other->offset + aligned(other->bytes));
    }
    temporary->offset = offset;
    arena = std::max(arena, offset + bytes);
    auto after = [](const Temporary* a, const Temporary* b) { return a->offset < b->offset; };
    placed.insert(std::upper_bound(placed.begin(), placed.end(), temporary, after), temporary);
  }
  return arena;
}

}  // namespace

Recorder::Recorder(Capabilities capabilities) : capabilities_(std::move(capabilities)) {
  static std::atomic<uint64_t> next{1};
  identity_ = next++;
}

Tensor Recorder::temporary(DType dtype, Shape shape) {
  double elements = 1;
  for (int64_t size : shape) elements *= double(size);
  if (elements > double(maxElements))
    throw Error("OUT_OF_MEMORY",
                "A result of shape " + toString(shape) + " has more than 2^40 elements; use smaller arguments.");
  Tensor tensor = Tensor::of(dtype, std::move(shape));
  tensor.temporary = int64_t(plan_.temporaries.size());
  tensor.recorder = identity_;
  plan_.temporaries.push_back({.bytes = tensor.bytes()});
  return tensor;
}

Tensor Recorder::record(const Request& request) {
  if (finished_)
    throw Error("INVALID_ARGUMENT", request.operation + ": the recording of this program has ended; record a new one.");
  for (const auto& [name, tensor] : request.tensors)
    if (!tensor.storage && tensor.recorder != identity_)
      throw Error::argumentError("INVALID_ARGUMENT", request.operation, name,
                                 "a tensor of this program or of its device", "a temporary of another program");
  Tensor output;
  Operation operation = describe(request, *this, output);
  if (Reasons reasons = notSupportedReasons(operation, capabilities_); !reasons.empty()) {
    std::string message = request.operation + ":";
    for (const std::string& reason : reasons) message += " " + reason;
    Error error("NOT_SUPPORTED", message);
    error.operation = request.operation;
    throw error;
  }
  auto index = int64_t(plan_.operations.size());
  for (const Tensor* tensor : tensorsOf(operation)) {
    if (tensor->temporary == noTemporary) continue;
    Temporary& temporary = plan_.temporaries[size_t(tensor->temporary)];
    if (temporary.firstUse < 0) temporary.firstUse = index;
    temporary.lastUse = index;
  }
  plan_.operations.push_back(std::move(operation));
  return output;
}

Plan Recorder::finish(std::string name, bool poison, std::optional<bool> integerProducts) {
  if (finished_) throw Error("INVALID_ARGUMENT", "record: the recording of this program has already ended.");
  finished_ = true;
  plan_.name = std::move(name);
  plan_.poison = poison;
  plan_.integerProducts = integerProducts;
  plan_.arenaBytes = planArena(plan_.temporaries);
  return std::move(plan_);
}

}  // namespace onehead
