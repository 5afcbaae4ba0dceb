#include "voice_binding.h"

namespace onehead::addon {

namespace {

using Stream = cpu::VoiceModel::Stream;

std::vector<float> floatsOf(const Napi::Value& value, const char* name) {
  const Napi::Float32Array array = float32Of(value, name);
  return std::vector<float>(array.Data(), array.Data() + array.ElementLength());
}

Napi::Value toArray(Napi::Env env, const std::vector<float>& floats) {
  Napi::Float32Array array = Napi::Float32Array::New(env, floats.size());
  std::copy(floats.begin(), floats.end(), array.Data());
  return array;
}

/** One run, on a thread of libuv's pool. */
class Run final : public Napi::AsyncWorker {
 public:
  Run(Napi::Env env, std::shared_ptr<const cpu::VoiceModel> model, std::vector<Stream> streams)
      : AsyncWorker(env, "onehead voice"),
        deferred(Napi::Promise::Deferred::New(env)),
        model_(std::move(model)),
        streams_(std::move(streams)) {}

  Napi::Promise::Deferred deferred;

 private:
  void Execute() override {
    try {
      model_->run(streams_);
    } catch (...) {
      failure_ = std::current_exception();
    }
  }
  void OnOK() override {
    Napi::Env env = Env();
    try {
      if (failure_) return deferred.Reject(toError(env, failure_));
      Napi::Array results = Napi::Array::New(env, streams_.size());
      for (size_t i = 0; i < streams_.size(); ++i) {
        Napi::Array result = Napi::Array::New(env, 2);
        result.Set(0u, toArray(env, streams_[i].state));
        result.Set(1u, toArray(env, streams_[i].probabilities));
        results.Set(uint32_t(i), result);
      }
      deferred.Resolve(results);
    } catch (const Napi::Error& error) {
      deferred.Reject(error.Value());
    } catch (...) {
      deferred.Reject(toError(env, std::current_exception()));
    }
  }

  std::shared_ptr<const cpu::VoiceModel> model_;
  std::vector<Stream> streams_;
  std::exception_ptr failure_;
};

}  // namespace

void VoiceBinding::define(Napi::Env env, Napi::Object exports) {
  exports.Set("VoiceModel", DefineClass(env, "VoiceModel", {InstanceMethod<&VoiceBinding::run>("run")}));
}

VoiceBinding::VoiceBinding(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  guarded(info.Env(), [&] {
    const std::vector<float> weights = floatsOf(info[0], "weights");
    if (weights.size() != cpu::VoiceModel::weightsSize())
      throw Error("MODEL_INVALID", "Expected " + std::to_string(cpu::VoiceModel::weightsSize()) +
                                       " weights of the voice detector but received " + std::to_string(weights.size()) +
                                       ".");
    model_ = std::make_shared<const cpu::VoiceModel>(weights.data(), kernelsOf(info[1]));
  });
}

Napi::Value VoiceBinding::run(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    if (!model_) throw Error("DISPOSED", "This voice detector could not be created.");
    if (!info[0].IsArray()) refuse("streams", "an array", info[0]);
    auto given = info[0].As<Napi::Array>();
    std::vector<Stream> streams;
    for (uint32_t i = 0; i < given.Length(); ++i) {
      Napi::Value value = given.Get(i);
      if (!value.IsArray()) refuse("streams", "pairs of state and samples", value);
      auto pair = value.As<Napi::Array>();
      Stream stream = {floatsOf(pair.Get(0u), "state"), floatsOf(pair.Get(1u), "samples"), {}};
      if (stream.state.size() != cpu::VoiceModel::stateSize)
        throw Error("INVALID_SHAPE", "Expected a state of " + std::to_string(cpu::VoiceModel::stateSize) +
                                         " numbers but received " + std::to_string(stream.state.size()) + ".");
      if (stream.samples.empty() || stream.samples.size() % cpu::VoiceModel::frame != 0)
        throw Error("INVALID_SHAPE", "Expected whole frames of " + std::to_string(cpu::VoiceModel::frame) +
                                         " samples but received " + std::to_string(stream.samples.size()) +
                                         " samples.");
      streams.push_back(std::move(stream));
    }
    auto* run = new Run(info.Env(), model_, std::move(streams));  // deletes itself when it has finished
    Napi::Value promise = run->deferred.Promise();
    run->Queue();
    return promise;
  });
}

}  // namespace onehead::addon
