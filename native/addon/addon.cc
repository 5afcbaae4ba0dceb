// The addon's exports. lib/device/addon.ts is their typed interface.
#include <napi.h>
#include <omp.h>

#include "../cpu/cpu_backend.h"
#include "../cpu/kernels.h"
#include "../cpu/products.h"
#include "../cuda/probe.h"
#include "attention_binding.h"
#include "device_binding.h"
#include "program_binding.h"
#include "resampler_binding.h"
#include "samples_binding.h"
#include "tensor_binding.h"
#include "voice_binding.h"

namespace onehead::addon {

namespace {

/** (OneheadError: class): receives the error class, so that native failures become errors made in JavaScript. */
void initialize(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    if (!info[0].IsFunction()) refuse("the argument of initialize", "the error class", info[0]);
    instanceOf(info.Env()).errorClass = Napi::Persistent(info[0].As<Napi::Function>());
  });
}

/** (): what this machine has, for `onehead doctor` and for default options. */
Napi::Value information(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    Napi::Object cpuFacts = Napi::Object::New(env);
    cpuFacts.Set("kernels", cpu::defaultKernels().name);
    Napi::Array available = Napi::Array::New(env);
    for (int i = 0; const cpu::Kernels* kernels = cpu::availableKernels(i); ++i)
      available.Set(available.Length(), kernels->name);
    cpuFacts.Set("available", available);
    cpuFacts.Set("multipliesBfloat16", cpu::multipliesBfloat16());

    Napi::Object onednn = Napi::Object::New(env);
    onednn.Set("version", cpu::onednnVersion());

    cuda::CudaProbe probe = cuda::probeCuda();
    Napi::Object cudaFacts = Napi::Object::New(env);
    cudaFacts.Set("compiled", probe.compiled);
    cudaFacts.Set("available", probe.available);
    cudaFacts.Set("reason", probe.reason);
    cudaFacts.Set("driverVersion", probe.driverVersion);
    Napi::Array devices = Napi::Array::New(env, probe.devices.size());
    for (size_t i = 0; i < probe.devices.size(); ++i) {
      Napi::Object device = Napi::Object::New(env);
      device.Set("name", probe.devices[i].name);
      device.Set("memory", double(probe.devices[i].memory));
      device.Set("computeCapability", probe.devices[i].computeCapability);
      devices.Set(uint32_t(i), device);
    }
    cudaFacts.Set("devices", devices);
    cudaFacts.Set("cublasLt",
                  probe.cublasLt.empty() ? env.Null() : Napi::Value(Napi::String::New(env, probe.cublasLt)));

    Napi::Object facts = Napi::Object::New(env);
    facts.Set("cpu", cpuFacts);
    facts.Set("onednn", onednn);
    facts.Set("cuda", cudaFacts);
    facts.Set("threads", cpu::defaultThreads());
    return facts;
  });
}

/** (): the CPU's kernels and oneDNN's version. Unlike `information` it does not access GPUs. */
Napi::Value cpuInformation(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    Napi::Object facts = Napi::Object::New(info.Env());
    facts.Set("kernels", cpu::defaultKernels().name);
    facts.Set("onednn", cpu::onednnVersion());
    facts.Set("threads", cpu::defaultThreads());
    return facts;
  });
}

/** (): whether the CPU has bfloat16 products. Unlike `information` it does not access GPUs. */
Napi::Value multipliesBfloat16(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&]() -> Napi::Value { return Napi::Boolean::New(info.Env(), cpu::multipliesBfloat16()); });
}

/** (typed array): frees the memory of the array, which has no elements then. Shared memory is left as it is. */
void detach(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    if (!info[0].IsTypedArray()) refuse("the argument of detach", "a typed array", info[0]);
    napi_value buffer;
    if (napi_get_typedarray_info(info.Env(), info[0], nullptr, nullptr, nullptr, &buffer, nullptr) == napi_ok)
      napi_detach_arraybuffer(info.Env(), buffer);  // fails for shared memory
  });
}

Napi::Object start(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Instance);
  DeviceBinding::define(env, exports);
  TensorBinding::define(env, exports);
  RecorderBinding::define(env, exports);
  ProgramBinding::define(env, exports);
  FileBinding::define(env, exports);
  VoiceBinding::define(env, exports);
  ResamplerBinding::define(env, exports);
  defineSamples(env, exports);
  defineAttention(env, exports);
  exports.Set("initialize", Napi::Function::New(env, initialize));
  exports.Set("information", Napi::Function::New(env, information));
  exports.Set("cpuInformation", Napi::Function::New(env, cpuInformation));
  exports.Set("detach", Napi::Function::New(env, detach));
  exports.Set("multipliesBfloat16", Napi::Function::New(env, multipliesBfloat16));
  return exports;
}

}  // namespace

NODE_API_MODULE(onehead, start)

}  // namespace onehead::addon
