#include "preparation.h"

#include <algorithm>

#include "../operations/decoder_layer/cuda_launches.h"
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
  const std::vector<Operation>& operations = executable_.plan().operations;
  while (index_ < operations.size()) {
    const size_t fusedOperations = prepareDecoderLayer(*this, executable_.plan(), index_);
    if (fusedOperations == 0)
      std::visit([&](const auto& description) { prepare(*this, description); }, operations[index_].description);
    for (const size_t end = index_ + std::max<size_t>(fusedOperations, 1); index_ < end; ++index_)
      for (const Tensor* tensor : writtenBy(operations[index_].description))
        writtenBefore_.insert(tensor->storage.get());
  }
}

std::byte* Preparation::at(const Tensor& tensor) const {
  std::byte* base = tensor.storage
                        ? static_cast<CudaStorage&>(*tensor.storage).plain()
                        : executable_.arena() + executable_.plan().temporaries[size_t(tensor.temporary)].offset;
  return base + size_t(tensor.offset) * bytesOf(tensor.dtype);
}

}  // namespace onehead::cuda
