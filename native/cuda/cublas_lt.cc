#include "cublas_lt.h"

#include <algorithm>

#include "cublas_lt_library.h"
#include "driver_lock.h"

namespace onehead::cuda {

namespace {

using namespace cublas_lt;

int dataType(DType type) { return type == DType::float32 ? real32 : type == DType::float16 ? real16 : brain16; }

/** The largest power of two, up to 256, that divides the address. */
uint32_t alignmentOf(const void* pointer) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer) | 256;
  return uint32_t(address & (~address + 1));
}

/** A library object that goes with its owner. */
template <class Handle>
using Owned = std::shared_ptr<std::remove_pointer_t<Handle>>;

class Products final : public CublasLt, public std::enable_shared_from_this<Products> {
 public:
  Products(const Library& library, Handle handle) : library_(library), handle_(handle) {}
  ~Products() override { close(); }

  void close() noexcept override {
    const DriverLock lock;
    if (handle_) library_.destroy(handle_);
    handle_ = nullptr;
  }

  // The library counts columns first: to it, our row-major y [rows, columns] is [columns, rows], and the weight, which
  // lies as [depth, columns], is transposed.
  Run prepare(const LargeProduct& p, size_t xAlignment) override {
    const Owned<Description> description = describe(p);
    const auto weight = layout(p.type, p.depth, p.columns), x = layout(p.type, p.depth, p.rows);
    const auto y = layout(p.yType, p.columns, p.rows);
    if (!description || !weight || !x || !y) return {};
    Preference raw = nullptr;
    if (library_.preferenceCreate(&raw)) return {};
    const Owned<Preference> preference(raw, library_.preferenceDestroy);
    const size_t workspace = workspaceBytes;
    const void* c = p.residual ? static_cast<const void*>(p.residual) : p.y;
    const uint32_t alignments[4] = {alignmentOf(p.weight), uint32_t(std::min<size_t>(xAlignment, 256)), alignmentOf(c),
                                    alignmentOf(p.y)};
    bool fine = !library_.preferenceSet(raw, maxWorkspaceBytes, &workspace, sizeof workspace);
    for (int i = 0; i < 4; ++i)
      fine = fine && !library_.preferenceSet(raw, minAlignmentA + i, &alignments[i], sizeof alignments[i]);
    Heuristic found{};
    int count = 0;
    if (!fine ||
        library_.heuristic(handle_, description.get(), weight.get(), x.get(), y.get(), y.get(), raw, 1, &found, &count))
      return {};
    if (count < 1 || found.state != 0) return {};
    return [self = shared_from_this(), p, description, weight, x, y, c, algorithm = found.algorithm](
               const void* data, void* scratch, cudaStream_t stream) {
      const float one = 1, beta = p.residual ? 1 : 0;
      return self->library_.matmul(self->handle_, description.get(), &one, p.weight, weight.get(), data, x.get(), &beta,
                                   c, y.get(), p.y, y.get(), &algorithm, scratch, workspaceBytes, stream);
    };
  }

 private:
  Owned<Layout> layout(DType type, int64_t rows, int64_t columns) {
    Layout made = nullptr;
    if (library_.layoutCreate(&made, dataType(type), uint64_t(rows), uint64_t(columns), rows)) return nullptr;
    return {made, library_.layoutDestroy};
  }
  Owned<Description> describe(const LargeProduct& p) {
    Description made = nullptr;
    if (library_.descriptionCreate(&made, compute32, real32)) return nullptr;
    Owned<Description> description(made, library_.descriptionDestroy);
    const int32_t transposed = operationTransposed;
    bool fine = !library_.descriptionSet(made, transposeA, &transposed, sizeof transposed);
    if (p.bias) {
      const uint32_t epilogue = epilogueBias;
      fine = fine && !library_.descriptionSet(made, epilogueKind, &epilogue, sizeof epilogue) &&
             !library_.descriptionSet(made, biasPointer, &p.bias, sizeof p.bias);
    }
    return fine ? description : nullptr;
  }

  const Library& library_;
  Handle handle_;
};

}  // namespace

std::string CublasLt::find() { return library() ? library()->name : ""; }

std::string CublasLt::describe(int status) {
  auto name = [&] {
    switch (status) {
      case 1:
        return "not initialized";
      case 3:
        return "allocation failed";
      case 7:
        return "invalid value";
      case 8:
        return "architecture mismatch";
      case 11:
        return "mapping error";
      case 13:
        return "execution failed";
      case 14:
        return "internal error";
      case 15:
        return "not supported";
      default:
        return "unknown";
    }
  };
  return "cuBLASLt's status " + std::to_string(status) + " (" + name() + ")";
}

std::shared_ptr<CublasLt> CublasLt::open() {
  const DriverLock lock;
  const Library* found = library();
  Handle handle = nullptr;
  if (!found || found->create(&handle) != 0) return nullptr;
  return std::make_shared<Products>(*found, handle);
}

}  // namespace onehead::cuda
