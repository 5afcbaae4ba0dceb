// Turns recorded operations into steps. Operations with a single kernel are listed in native/operations/kernels.h; for
// the others, native/operations/<family>/cpu_steps.cc makes the steps.
#pragma once

#include <dnnl.hpp>

#include "../core/addresses.h"
#include "executable.h"
#include "kernels.h"
#include "storage.h"

namespace onehead::cpu {

/** Makes the steps of one program. */
class Preparation final : public Addresses {
 public:
  Preparation(CpuExecutable& executable, const Kernels& kernels, int threads, dnnl::engine& engine,
              dnnl::stream& stream)
      : kernels(kernels), threads(threads), engine(engine), stream(stream), executable_(executable) {}

  /** Adds the steps of all operations. Throws Error OUT_OF_MEMORY, or dnnl::error. */
  void prepareAll();

  using Addresses::at;
  std::byte* at(const Tensor& tensor) const override;
  const void* weight(const Tensor& tensor) const override;

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
  dnnl::engine& engine;
  dnnl::stream& stream;

 private:
  CpuExecutable& executable_;
  size_t index_ = 0;
};

#define ONEHEAD_DECLARE(Type, name) void prepare(Preparation& p, const onehead::Type& o);
ONEHEAD_OPERATIONS(ONEHEAD_DECLARE)
#undef ONEHEAD_DECLARE

}  // namespace onehead::cpu
