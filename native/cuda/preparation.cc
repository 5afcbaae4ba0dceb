#include "preparation.h"

#include "../core/error.h"
#include "storage.h"

namespace onehead::cuda {

Preparation::Preparation(CudaExecutable& executable, Context& context, Workspace& workspace, CublasLt* cublasLt)
    : context(context), workspace(workspace), cublasLt(cublasLt), executable_(executable) {
  for (const Operation& operation : executable.plan().operations)
    for (const Tensor* tensor : writtenBy(operation.description)) written_.insert(tensor->storage.get());
}

void Preparation::prepareAll() {
  for (const Operation& operation : executable_.plan().operations) {
    name_ = operation.name;
    std::visit([&](const auto& description) { prepare(*this, description); }, operation.description);
    for (const Tensor* tensor : writtenBy(operation.description)) writtenBefore_.insert(tensor->storage.get());
    ++index_;
  }
}

std::byte* Preparation::at(const Tensor& tensor) const {
  std::byte* base = tensor.storage
                        ? static_cast<CudaStorage&>(*tensor.storage).plain()
                        : executable_.arena() + executable_.plan().temporaries[size_t(tensor.temporary)].offset;
  return base + size_t(tensor.offset) * bytesOf(tensor.dtype);
}

void Preparation::unsupported(const std::string& reason) const { throw Error("NOT_SUPPORTED", name_ + ": " + reason); }

}  // namespace onehead::cuda
