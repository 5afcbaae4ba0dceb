#include "preparation.h"

#include "../core/error.h"

namespace onehead::cpu {

void Preparation::prepareAll() {
  for (const Operation& operation : executable_.plan().operations) {
    name_ = operation.name;
    std::visit([&](const auto& description) { prepare(*this, description); }, operation.description);
    ++index_;
  }
}

std::byte* Preparation::at(const Tensor& tensor) const {
  std::byte* base = tensor.storage
                        ? static_cast<CpuStorage&>(*tensor.storage).plain()
                        : executable_.arena() + executable_.plan().temporaries[size_t(tensor.temporary)].offset;
  return base + size_t(tensor.offset) * bytesOf(tensor.dtype);
}

const int8_t* Preparation::panels(const Tensor& weight, const Tensor& scales) const {
  auto* storage = static_cast<CpuStorage*>(weight.storage.get());
  const size_t padded = aligned(size_t(weight.shape[0]) * sizeof(float));
  if (!storage || !storage->isPanels() || weight.offset != 0 || weight.bytes() != storage->bytes || !scales.storage ||
      scales.offset != 0 || scales.storage->bytes < padded)
    unsupported("the CPU device takes an int8 weight and its scales whole, as Device.quantize gives them.");
  return storage->panels();
}

void Preparation::unsupported(const std::string& reason) const { throw Error("NOT_SUPPORTED", name_ + ": " + reason); }

void Preparation::add(std::unique_ptr<Step> step, const char* part) {
  if (*part) step->part = part;
  executable_.add(std::move(step), index_);
}

}  // namespace onehead::cpu
