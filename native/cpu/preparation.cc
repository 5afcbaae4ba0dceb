#include "preparation.h"

#include "openmp.h"

namespace onehead::cpu {

#define ONEHEAD_PREPARE(Type, name) \
  void prepare(Preparation& p, const onehead::Type& o) { p.kernel(argumentsOf(p, o), p.kernels.name); }
ONEHEAD_KERNELS(ONEHEAD_PREPARE, ONEHEAD_PREPARE)
#undef ONEHEAD_PREPARE

void Preparation::prepareAll() {
  for (const Operation& operation : executable_.plan().operations) {
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

const void* Preparation::weight(const Tensor& tensor) const {
  if (!tensor.storage || !tensor.storage->isQuantizedWeight()) return at(tensor);
  return static_cast<CpuStorage&>(*tensor.storage).panels();
}

bool Preparation::multipliesInt16(const Tensor& weight) const {
  return kernels.multipliesInt16 && executable_.plan().integerProducts.value_or(!kernels.multipliesBfloat16) &&
         weight.dtype == DType::bfloat16 && weight.storage && static_cast<CpuStorage&>(*weight.storage).packs(weight);
}

Onednn& Preparation::onednn() {
  if (!onednn_) {
    onednn_.emplace();
    if (!openmp::takesOver(onednn_->engine)) team_.useOpenmp();
  }
  return *onednn_;
}

void Preparation::add(std::unique_ptr<Step> step, const char* part) {
  if (*part) step->part = part;
  executable_.add(std::move(step), index_);
}

}  // namespace onehead::cpu
