// The JavaScript class Resampler, which runs on the calling thread.
#pragma once

#include <optional>

#include "../cpu/resampler.h"
#include "support.h"

namespace onehead::addon {

class ResamplerBinding final : public Napi::ObjectWrap<ResamplerBinding> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  /** (from: number, to: number, kernels?: string): integers in hertz */
  explicit ResamplerBinding(const Napi::CallbackInfo& info);

 private:
  /** (samples: Float32Array): number. The outputs that these samples complete. */
  Napi::Value outputs(const Napi::CallbackInfo& info);
  /** (samples: Float32Array, output: Float32Array): void. Fills output, whose length is that of `outputs`. */
  void push(const Napi::CallbackInfo& info);
  /** (): number. The outputs that silence after the last sample completes. */
  Napi::Value remaining(const Napi::CallbackInfo& info);
  /** (output: Float32Array): void. Fills output, whose length is that of `remaining`, and releases memory. */
  void finish(const Napi::CallbackInfo& info);

  /** The resampler. Throws Error DISPOSED if it has finished. */
  cpu::Resampler& use();

  std::optional<cpu::Resampler> resampler_;
};

}  // namespace onehead::addon
