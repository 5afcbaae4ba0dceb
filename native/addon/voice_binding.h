// The JavaScript class VoiceModel: Silero's voice detector, run on libuv's thread pool.
#pragma once

#include <memory>

#include "../cpu/voice_model.h"
#include "support.h"

namespace onehead::addon {

class VoiceBinding final : public Napi::ObjectWrap<VoiceBinding> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  /** (weights: Float32Array, kernels?: string) */
  explicit VoiceBinding(const Napi::CallbackInfo& info);

 private:
  /** ([state, samples][], each a Float32Array): Promise<[state, probabilities][]>. The arguments are copied. */
  Napi::Value run(const Napi::CallbackInfo& info);

  std::shared_ptr<const cpu::VoiceModel> model_;
};

}  // namespace onehead::addon
