#include "capabilities.h"

#include <cctype>

namespace onehead {

namespace {

std::string capitalized(std::string name) {
  name.front() = char(std::toupper(name.front()));
  return name;
}

/** Whether it is a whole weight in the device's own layout, with scales padded to whole cache lines. */
bool isWhole(const Tensor& weight, const Tensor& scales) {
  const Storage *data = weight.storage.get(), *factors = scales.storage.get();
  return data && data->isQuantizedWeight() && weight.offset == 0 && weight.bytes() == data->bytes && factors &&
         scales.offset == 0 && factors->bytes >= aligned(size_t(weight.shape[0]) * sizeof(float));
}

}  // namespace

void Capabilities::checkTypes(std::initializer_list<DType> given, Reasons& reasons) const {
  for (DType type : given) {
    if (computesIn(type)) continue;
    std::string names;
    for (DType one : types) names += (names.empty() ? "" : ", ") + std::string(nameOf(one));
    reasons.push_back(capitalized(title) + " computes in " + names + ", not in " + std::string(nameOf(type)) + ".");
    return;
  }
}

void Capabilities::checkWeight(const Tensor& weight, const std::optional<Tensor>& scales, Reasons& reasons) const {
  const std::string who = capitalized(title);
  if (constantWeights && !weight.storage)
    reasons.push_back(who + " requires weights in the device's memory, not in a temporary.");
  else if (scales && ownWeightLayout && !isWhole(weight, *scales))
    reasons.push_back(who + " requires an int8 weight and its scales whole, as returned by Device.quantize.");
}

}  // namespace onehead
