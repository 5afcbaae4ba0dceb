// Turns recorded operations into steps. Operations with a single kernel are listed in native/operations/kernels.h; for
// the others, native/operations/<family>/cpu_steps.cc makes the steps.
#pragma once

#include <dnnl.hpp>
#include <optional>

#include "../core/addresses.h"
#include "executable.h"
#include "kernels.h"
#include "storage.h"
#include "team.h"

namespace onehead::cpu {

/** A device's access to oneDNN, made for the first product that oneDNN computes: what it reads of its library and
 * allocates takes some MiB, which a model in 8 bits never needs. */
struct Onednn {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
};

/** Makes the steps of one program. */
class Preparation final : public Addresses {
 public:
  Preparation(CpuExecutable& executable, const Kernels& kernels, ThreadTeam& team, std::optional<Onednn>& onednn)
      : kernels(kernels), threads(team.threads()), executable_(executable), team_(team), onednn_(onednn) {}

  /** Adds the steps of all operations. Throws Error OUT_OF_MEMORY, or dnnl::error. */
  void prepareAll();

  using Addresses::at;
  std::byte* at(const Tensor& tensor) const override;
  const void* weight(const Tensor& tensor) const override;
  /** Whether a product of many rows with this weight is computed by linearInt16, and not by oneDNN. */
  bool multipliesInt16(const Tensor& weight) const;

  /** The first call gives oneDNN the device's threads, or the device oneDNN's (openmp.h). */
  Onednn& onednn();

  /** Adds a step of the operation that is being prepared. `part` is the name of its stage in traces. */
  void add(std::unique_ptr<Step> step, const char* part = "");
  /** Adds a function that every thread of the team calls. */
  template <class Arguments>
  void kernel(const Arguments& arguments, void (*function)(const Arguments&, const Team&), size_t scratchBytes = 0) {
    add(std::make_unique<KernelStep<Arguments>>(arguments, function, scratchBytes));
  }

  /** Adds a kernel with its scratch memory. */
  template <class Arguments>
  void kernel(const Arguments& arguments, const Kernel<Arguments>& kernel, const char* part = "") {
    const size_t bytes = kernel.scratchBytes ? kernel.scratchBytes(arguments, threads) : 0;
    add(std::make_unique<KernelStep<Arguments>>(arguments, kernel.run, bytes), part);
  }

  const Kernels& kernels;
  const int threads;

 private:
  CpuExecutable& executable_;
  ThreadTeam& team_;
  std::optional<Onednn>& onednn_;
  size_t index_ = 0;
};

#define ONEHEAD_DECLARE(Type, name) void prepare(Preparation& p, const onehead::Type& o);
ONEHEAD_OPERATIONS(ONEHEAD_DECLARE)
#undef ONEHEAD_DECLARE

}  // namespace onehead::cpu
