// VoiceModel in JavaScript: Silero's voice detector, which runs on the threads that Node.js has for such work.
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
  /** ([state, samples][]: Float32Array each): Promise<[state, probabilities][]>. What is given is copied. */
  Napi::Value run(const Napi::CallbackInfo& info);

  std::shared_ptr<const cpu::VoiceModel> model_;
};

}  // namespace onehead::addon
