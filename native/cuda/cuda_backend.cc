#include "cuda_backend.h"

#include "../core/error.h"
#include "capabilities.h"
#include "preparation.h"
#include "quantize.h"
#include "storage.h"

namespace onehead::cuda {

#if defined(ONEHEAD_CUDA_EMULATED)
const char* const deviceName = "cuda-emulated";
#else
const char* const deviceName = "cuda";
#endif

namespace {

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options)
      : context_(std::make_shared<Context>(options)),
        workspace_(std::make_shared<Workspace>(context_)),
        arena_(context_),
        cublasLt_(options.cublasLt ? CublasLt::open(options.index) : nullptr) {}

  Capabilities capabilities() const override {
    Capabilities known = cuda::capabilities();
    known.device = deviceName;
    known.sharedMemory = context_->launcher().sharedMemory;
    return known;
  }
  void start() override { context_->use(); }
  std::shared_ptr<Storage> allocate(size_t bytes) override { return std::make_shared<CudaStorage>(bytes, context_); }
  std::shared_ptr<Storage> load(Source source, DType dtype, const Shape& shape) override {
    if (!isFloating(dtype))
      throw Error("NOT_SUPPORTED", "load: the CUDA device loads floating-point constants, not " +
                                       std::string(nameOf(dtype)) + "; write it to a tensor instead.");
    return std::make_shared<CudaStorage>(std::move(source), dtype, shape, context_);
  }
  Quantized quantize(Source source, const Shape& shape) override { return quantized(source, shape, context_); }
  void write(Storage& to, size_t offset, const void* from, size_t bytes) override {
    upload(*context_, plain(to) + offset, from, bytes);
  }
  void read(Storage& from, size_t offset, void* to, size_t bytes) override {
    download(*context_, to, plain(from) + offset, bytes);
  }
  void transfer(const std::vector<Piece>& writes, std::vector<Piece>& reads) override {
    cuda::transfer(*context_, writes, reads);
  }
  void copy(Storage& from, size_t fromOffset, Storage& to, size_t toOffset, size_t bytes) override {
    // Ranges of one tensor may overlap, which device copies do not support: then copy through the workspace.
    const std::byte* source = plain(from) + fromOffset;
    std::byte* target = plain(to) + toOffset;
    const bool overlap = source < target + bytes && target < source + bytes;
    const cudaStream_t stream = context_->stream();
    if (overlap) {
      workspace_->atLeast(bytes, 0);
      context_->check(cudaMemcpyAsync(workspace_->scratch(), source, bytes, cudaMemcpyDeviceToDevice, stream),
                      "copying");
      source = workspace_->scratch();
    }
    context_->check(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDeviceToDevice, stream), "copying");
    context_->synchronize("copying");
  }
  std::unique_ptr<Executable> prepare(Plan plan) override {
    std::shared_ptr<Buffer> arena = arena_.atLeast(plan.arenaBytes);
    auto executable = std::make_unique<CudaExecutable>(std::move(plan), context_, workspace_, std::move(arena));
    Preparation(*executable, *context_, *workspace_, cublasLt_.get()).prepareAll();
    return executable;
  }
  MemoryFigures memory() const override {
    MemoryFigures figures = context_->counter().figures();
    const size_t free = context_->freeAtFirst();
    figures.available = free > figures.inUse ? free - figures.inUse : 0;
    return figures;
  }
  void close() noexcept override {
    if (cublasLt_) cublasLt_->close();
    context_->close();
  }

 private:
  static std::byte* plain(Storage& storage) { return static_cast<CudaStorage&>(storage).plain(); }

  std::shared_ptr<Context> context_;
  std::shared_ptr<Workspace> workspace_;
  SharedBuffer arena_;
  std::shared_ptr<CublasLt> cublasLt_;
};

}  // namespace

std::shared_ptr<Backend> makeCudaBackend(const CudaOptions& options) { return std::make_shared<CudaBackend>(options); }

}  // namespace onehead::cuda
