#include "preparation.h"

#include <algorithm>

#include "../core/error.h"
#include "../operations/decoder_layer/cuda_launches.h"
#include "storage.h"

namespace onehead::cuda {

Preparation::Preparation(CudaExecutable& executable, Context& context, Workspace& workspace, CublasLt* cublasLt)
    : context(context), workspace(workspace), cublasLt(cublasLt), executable_(executable) {
  for (const Operation& operation : executable.plan().operations)
    for (const Tensor* tensor : writtenBy(operation.description)) written_.insert(tensor->storage.get());
}

void Preparation::prepareAll() {
  const std::vector<Operation>& operations = executable_.plan().operations;
  while (index_ < operations.size()) {
    name_ = operations[index_].name;
    const size_t together = prepareDecoderLayer(*this, executable_.plan(), index_);
    if (together == 0)
      std::visit([&](const auto& description) { prepare(*this, description); }, operations[index_].description);
    for (const size_t end = index_ + std::max<size_t>(together, 1); index_ < end; ++index_)
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

void Preparation::unsupported(const std::string& reason) const { throw Error("NOT_SUPPORTED", name_ + ": " + reason); }

}  // namespace onehead::cuda
