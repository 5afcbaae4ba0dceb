// One prepared operation of a CPU program.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "kernels.h"

namespace onehead::cpu {

class Step {
 public:
  virtual ~Step() = default;
  /** Bytes of scratch memory; steps of a device share it, one after another. */
  virtual size_t scratchBytes() const { return 0; }
  /** Called before a replay, since the scratch memory may have moved. */
  virtual void bind(std::byte* /*scratch*/) {}
  /** True if every thread of the team calls `run`; false if only the leader does, and the step opens its own rounds
   * (oneDNN). */
  virtual bool collective() const = 0;
  virtual void run(const Team& team) = 0;
  /** Name of its stage in traces; empty if the operation has no stages. */
  const char* part = "";
};

/** One of our kernels with its arguments. */
template <class Arguments>
class KernelStep final : public Step {
 public:
  using Kernel = void (*)(const Arguments&, const Team&);
  KernelStep(Arguments arguments, Kernel kernel, size_t scratchBytes = 0)
      : arguments_(arguments), kernel_(kernel), scratchBytes_(scratchBytes) {}
  size_t scratchBytes() const override { return scratchBytes_; }
  void bind(std::byte* scratch) override {
    if constexpr (requires { arguments_.scratch; }) arguments_.scratch = scratch;
  }
  bool collective() const override { return true; }
  void run(const Team& team) override { kernel_(arguments_, team); }

 private:
  Arguments arguments_;
  Kernel kernel_;
  size_t scratchBytes_;
};

template <class Arguments>
KernelStep(Arguments, void (*)(const Arguments&, const Team&)) -> KernelStep<Arguments>;
template <class Arguments>
KernelStep(Arguments, void (*)(const Arguments&, const Team&), size_t) -> KernelStep<Arguments>;

}  // namespace onehead::cpu
