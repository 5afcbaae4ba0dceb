#include "preparation.h"

#include "storage.h"

namespace onehead::cuda {

#define ONEHEAD_PREPARE(Type, name) \
  void prepare(Preparation& p, const Type& o) { p.kernel(argumentsOf(p, o), name); }
#define ONEHEAD_PREPARE_WITH_SCRATCH(Type, name)         \
  void prepare(Preparation& p, const Type& o) {          \
    const Type##Arguments arguments = argumentsOf(p, o); \
    p.kernel(arguments, name, name##Needs(arguments));   \
  }
ONEHEAD_KERNELS(ONEHEAD_PREPARE, ONEHEAD_PREPARE_WITH_SCRATCH)
#undef ONEHEAD_PREPARE
#undef ONEHEAD_PREPARE_WITH_SCRATCH

Preparation::Preparation(CudaExecutable& executable, Context& context, Workspace& workspace, CublasLt* cublasLt)
    : context(context), workspace(workspace), cublasLt(cublasLt), executable_(executable) {
  for (const Operation& operation : executable.plan().operations)
    for (const Tensor* tensor : writtenBy(operation.description)) written_.insert(tensor->storage.get());
}

void Preparation::prepareAll() {
  for (const Operation& operation : executable_.plan().operations) {
    std::visit([&](const auto& description) { prepare(*this, description); }, operation.description);
    for (const Tensor* tensor : writtenBy(operation.description)) writtenBefore_.insert(tensor->storage.get());
    ++index_;
  }
  executable_.planPrefetches();
}

std::byte* Preparation::at(const Tensor& tensor) const {
  std::byte* base = tensor.storage
                        ? static_cast<CudaStorage&>(*tensor.storage).plain()
                        : executable_.arena() + executable_.plan().temporaries[size_t(tensor.temporary)].offset;
  return base + size_t(tensor.offset) * bytesOf(tensor.dtype);
}

}  // namespace onehead::cuda
