// Turns recorded operations into launches. Operations with a single kernel are listed in native/operations/kernels.h;
// for the others, native/operations/<family>/cuda_launches.cc makes the launches.
#pragma once

#include <set>

#include "../core/addresses.h"
#include "cublas_lt.h"
#include "executable.h"

namespace onehead::cuda {

/** Alignment of the parts of scratch memory, in bytes. */
constexpr size_t scratchAlignment = 256;
constexpr size_t rounded(size_t bytes) { return (bytes + scratchAlignment - 1) / scratchAlignment * scratchAlignment; }

/** Makes the launches of one program. */
class Preparation final : public Addresses {
 public:
  Preparation(CudaExecutable& executable, Context& context, Workspace& workspace, CublasLt* cublasLt);

  /** Adds the launches of all operations. Throws Error OUT_OF_MEMORY. */
  void prepareAll();

  using Addresses::at;
  std::byte* at(const Tensor& tensor) const override;
  /** Whether any operation of the program writes the tensor. */
  bool changes(const Tensor& tensor) const { return !tensor.storage || written_.contains(tensor.storage.get()); }
  bool changes(const std::optional<Tensor>& tensor) const { return tensor && changes(*tensor); }
  /** Whether an operation before this one writes the tensor. Replays do not overlap. */
  bool changesBefore(const Tensor& tensor) const {
    return !tensor.storage || writtenBefore_.contains(tensor.storage.get());
  }
  bool changesBefore(const std::optional<Tensor>& tensor) const { return tensor && changesBefore(*tensor); }
  const Launcher& launcher() const { return context.launcher(); }
  /** The operation that is being prepared, for messages. */
  std::string title() const { return executable_.title(index_); }

  /** Adds a launch with its scratch memory (bytes) and counters. `part` is the name of its stage in traces. */
  void add(Launch launch, size_t scratchBytes = 0, size_t counters = 0, const char* part = "") {
    workspace.atLeast(scratchBytes, counters);
    executable_.add(std::move(launch), index_, part);
  }
  /** Adds a kernel that uses scratch memory. `complete` sets the addresses at launch, since the memory may move. */
  template <class Arguments, class Complete>
  void kernel(const Arguments& arguments, cudaError_t (*function)(const Arguments&, const Launcher&),
              size_t scratchBytes, size_t counters, Complete complete, const char* part = "") {
    add(
        [=](const Launcher& launcher, const Workspace& workspace) {
          Arguments here = withPrefetch(arguments, launcher);
          complete(here, workspace);
          return function(here, launcher);
        },
        scratchBytes, counters, part);
  }
  /** The same for arguments with `scratch`, and `counters` if they need any. */
  template <class Arguments>
  void kernel(const Arguments& arguments, cudaError_t (*function)(const Arguments&, const Launcher&), Needs needs,
              const char* part = "") {
    auto complete = [](Arguments& here, const Workspace& workspace) {
      here.scratch = workspace.scratch();
      if constexpr (requires { here.counters; }) here.counters = workspace.counters();
    };
    kernel(arguments, function, needs.scratchBytes, needs.counters, complete, part);
  }
  /** Adds a kernel without scratch memory. */
  template <class Arguments>
  void kernel(const Arguments& arguments, cudaError_t (*function)(const Arguments&, const Launcher&)) {
    add([=](const Launcher& launcher, const Workspace&) {
      return function(withPrefetch(arguments, launcher), launcher);
    });
  }

  /** Says what the last launch that was added reads. */
  void reads(const Reads& reads) { executable_.reads(reads); }

  Context& context;
  Workspace& workspace;
  CublasLt* const cublasLt;  // null if absent

 private:
  /** The arguments with what this launch prefetches, if its kernel can. */
  template <class Arguments>
  static Arguments withPrefetch(Arguments arguments, const Launcher& launcher) {
    if constexpr (requires { arguments.prefetch; }) arguments.prefetch = launcher.prefetch;
    return arguments;
  }

  CudaExecutable& executable_;
  std::set<const Storage*> written_, writtenBefore_;
  size_t index_ = 0;
};

#define ONEHEAD_DECLARE(Type, name) void prepare(Preparation& p, const Type& o);
ONEHEAD_OPERATIONS(ONEHEAD_DECLARE)
#undef ONEHEAD_DECLARE

}  // namespace onehead::cuda
