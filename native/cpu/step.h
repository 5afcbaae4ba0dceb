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
  /** Bytes of the scratch memory that all steps of a device share, one after the other. */
  virtual size_t scratchBytes() const { return 0; }
  /** Called before a replay: the scratch memory may have moved. */
  virtual void bind(std::byte* /*scratch*/) {}
  /** True when every thread of the team calls `run`; false when the one that leads it does, and the step opens rounds
   * of its own (oneDNN). */
  virtual bool collective() const = 0;
  virtual void run(const Team& team) = 0;
  /** The stage of its operation that this step is, for traces; empty when there are no stages. */
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
