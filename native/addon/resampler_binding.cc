#include "resampler_binding.h"

namespace onehead::addon {

namespace {

int64_t rateOf(const Napi::Value& value, const char* name) {
  constexpr int64_t least = cpu::Resampler::minRate, most = cpu::Resampler::maxRate;
  if (value.IsNumber()) {
    const double rate = value.As<Napi::Number>().DoubleValue();
    if (rate >= double(least) && rate <= double(most) && rate == double(int64_t(rate))) return int64_t(rate);
  }
  refuse(name, "a whole number of hertz from " + std::to_string(least) + " to " + std::to_string(most), value);
}

/** An array for `count` numbers. */
float* outputOf(const Napi::Value& value, int64_t count) {
  Napi::Float32Array array = float32Of(value, "output");
  if (int64_t(array.ElementLength()) != count)
    throw Error("INVALID_SHAPE", "Expected an output of " + std::to_string(count) + " numbers but received " +
                                     std::to_string(array.ElementLength()) + ".");
  return array.Data();
}

}  // namespace

void ResamplerBinding::define(Napi::Env env, Napi::Object exports) {
  exports.Set("Resampler", DefineClass(env, "Resampler",
                                       {InstanceMethod<&ResamplerBinding::outputs>("outputs"),
                                        InstanceMethod<&ResamplerBinding::push>("push"),
                                        InstanceMethod<&ResamplerBinding::remaining>("remaining"),
                                        InstanceMethod<&ResamplerBinding::finish>("finish")}));
}

ResamplerBinding::ResamplerBinding(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  guarded(info.Env(), [&] {
    const int64_t from = rateOf(info[0], "from"), to = rateOf(info[1], "to");
    resampler_.emplace(from, to, kernelsOf(info[2]));
  });
}

cpu::Resampler& ResamplerBinding::use() {
  if (!resampler_) throw Error("DISPOSED", "This resampler has finished; create another one.");
  return *resampler_;
}

Napi::Value ResamplerBinding::outputs(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const Napi::Float32Array samples = float32Of(info[0], "samples");
    return Napi::Number::New(info.Env(), double(use().outputs(int64_t(samples.ElementLength()))));
  });
}

void ResamplerBinding::push(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    const Napi::Float32Array samples = float32Of(info[0], "samples");
    const int64_t count = int64_t(samples.ElementLength());
    cpu::Resampler& resampler = use();
    resampler.push(samples.Data(), count, outputOf(info[1], resampler.outputs(count)));
  });
}

Napi::Value ResamplerBinding::remaining(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value { return Napi::Number::New(info.Env(), double(use().remaining())); });
}

void ResamplerBinding::finish(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    use().finish(outputOf(info[0], use().remaining()));
    resampler_.reset();
  });
}

}  // namespace onehead::addon
