#include "cublas_lt.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

#include "cublas_lt_library.h"
#include "driver_lock.h"

namespace onehead::cuda {

namespace {

using namespace cublas_lt;

int dataType(DType type) {
  switch (type) {
    case DType::float32:
      return typeFloat32;
    case DType::float16:
      return typeFloat16;
    case DType::int8:
      return typeInt8;
    case DType::int32:
      return typeInt32;
    default:
      return typeBfloat16;
  }
}

/** The alignment of an address: the largest power of two that divides it, up to 256. */
uint32_t alignmentOf(const void* pointer) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer) | 256;
  return uint32_t(address & (~address + 1));
}

/** A library object that is destroyed with its owner. */
template <class Handle>
using Owned = std::shared_ptr<std::remove_pointer_t<Handle>>;

/** How many algorithms are timed per shape, and how many runs of each. To replace the library's first choice, another
 * must take at most `requiredRatio` of its time: smaller differences are noise. */
constexpr int tried = 6, timedRuns = 4;
constexpr float requiredRatio = 0.97f;

/** What determines which algorithm is fastest. */
using Case = std::tuple<int, int64_t, int64_t, int64_t, int, int, bool, bool, std::vector<uint32_t>>;

/** The fastest algorithms found so far, for all devices of the process. */
class Fastest {
 public:
  bool find(const Case& of, Algorithm& algorithm) {
    std::lock_guard lock(mutex_);
    const auto found = known_.find(of);
    if (found == known_.end()) return false;
    algorithm = found->second;
    return true;
  }
  void keep(const Case& of, const Algorithm& algorithm) {
    std::lock_guard lock(mutex_);
    known_.insert_or_assign(of, algorithm);
  }

 private:
  std::mutex mutex_;
  std::map<Case, Algorithm> known_;
};
Fastest& fastest() {
  static Fastest* const one = new Fastest;  // never destroyed, since devices may be closed at exit
  return *one;
}

/** Microseconds per run that `start` launches; negative if it fails. */
template <class Start>
float timeOf(Start start, cudaStream_t stream) {
  cudaEvent_t begin = nullptr, end = nullptr;
  float milliseconds = -1;
  // The first run is not timed, since it loads the kernel's code.
  bool fine = start() == 0 && cudaEventCreateWithFlags(&begin, cudaEventDefault) == cudaSuccess &&
              cudaEventCreateWithFlags(&end, cudaEventDefault) == cudaSuccess &&
              cudaEventRecord(begin, stream) == cudaSuccess;
  for (int i = 0; i < timedRuns && fine; ++i) fine = start() == 0;
  fine = fine && cudaEventRecord(end, stream) == cudaSuccess;
  fine = cudaStreamSynchronize(stream) == cudaSuccess && fine;
  if (!fine || cudaEventElapsedTime(&milliseconds, begin, end) != cudaSuccess) milliseconds = -1;
  if (begin) cudaEventDestroy(begin);
  if (end) cudaEventDestroy(end);
  cudaGetLastError();
  return milliseconds * 1000 / timedRuns;
}

class Products final : public CublasLt, public std::enable_shared_from_this<Products> {
 public:
  Products(const Library& library, Handle handle, int device) : library_(library), handle_(handle), device_(device) {}
  ~Products() override { close(); }

  void close() noexcept override {
    const DriverLock lock;
    if (handle_) library_.destroy(handle_);
    handle_ = nullptr;
  }

  // cuBLASLt is column-major: our row-major y [rows, columns] is its [columns, rows], and the weight, which it sees as
  // [depth, columns], is transposed.
  Run prepare(const LargeProduct& p, size_t xAlignment, const Trial* trial) override {
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
    if (!fine) return {};
    auto start = [self = shared_from_this(), p, description, weight, x, y](
                     const Algorithm& algorithm, const Buffers& buffers, cudaStream_t stream) {
      // alpha and beta have the type of the sums; the bits of zero are the same in both.
      const float one = 1, beta = p.residual ? 1 : 0;
      const int32_t oneInt32 = 1;
      const void* alpha = p.type == DType::int8 ? static_cast<const void*>(&oneInt32) : &one;
      void* result = p.y ? p.y : buffers.y;
      const void* added = p.residual ? static_cast<const void*>(p.residual) : result;
      return self->library_.matmul(self->handle_, description.get(), alpha, p.weight ? p.weight : buffers.weight,
                                   weight.get(), buffers.x, x.get(), &beta, added, y.get(), result, y.get(), &algorithm,
                                   buffers.workspace, workspaceBytes, stream);
    };
    const Case known{device_,
                     p.rows,
                     p.columns,
                     p.depth,
                     int(p.type),
                     int(p.yType),
                     p.bias != nullptr,
                     p.residual != nullptr,
                     std::vector<uint32_t>(alignments, alignments + 4)};
    Algorithm chosen{};
    if (!fastest().find(known, chosen)) {
      Heuristic found[tried]{};
      int count = 0;
      if (library_.heuristic(handle_, description.get(), weight.get(), x.get(), y.get(), y.get(), raw,
                             trial ? tried : 1, found, &count))
        return {};
      std::vector<Algorithm> candidates;
      for (int i = 0; i < count; ++i)
        if (found[i].state == 0) candidates.push_back(found[i].algorithm);
      if (candidates.empty()) return {};
      chosen = candidates[0];
      if (trial && candidates.size() > 1) {
        const DriverLock lock;  // loads kernels' code
        float best = -1;
        for (const Algorithm& candidate : candidates) {
          const float time = timeOf([&] { return start(candidate, trial->buffers, trial->stream); }, trial->stream);
          if (time < 0 || (best >= 0 && time > best * requiredRatio)) continue;
          best = time;
          chosen = candidate;
        }
        fastest().keep(known, chosen);
      }
    }
    return [start, chosen](const Buffers& buffers, cudaStream_t stream) { return start(chosen, buffers, stream); };
  }

 private:
  Owned<Layout> layout(DType type, int64_t rows, int64_t columns) {
    Layout made = nullptr;
    if (library_.layoutCreate(&made, dataType(type), uint64_t(rows), uint64_t(columns), rows)) return nullptr;
    return {made, library_.layoutDestroy};
  }
  Owned<Description> describe(const LargeProduct& p) {
    Description made = nullptr;
    const bool isInt8 = p.type == DType::int8;
    if (library_.descriptionCreate(&made, isInt8 ? computeInt32 : computeFloat32, isInt8 ? typeInt32 : typeFloat32))
      return nullptr;
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
  int device_;
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
  return "cuBLASLt returned status " + std::to_string(status) + " (" + name() + ")";
}

std::shared_ptr<CublasLt> CublasLt::open(int device) {
  const DriverLock lock;
  const Library* found = library();
  Handle handle = nullptr;
  if (!found || found->create(&handle) != 0) return nullptr;
  return std::make_shared<Products>(*found, handle, device);
}

}  // namespace onehead::cuda
