#include "program_binding.h"

#include "tensor_binding.h"
#include "transfer.h"

namespace onehead::addon {

void RecorderBinding::define(Napi::Env env, Napi::Object exports) {
  Napi::Function constructor = DefineClass(
      env, "Recorder",
      {InstanceMethod<&RecorderBinding::operation>("operation"), InstanceMethod<&RecorderBinding::finish>("finish")});
  instanceOf(env).recorderClass = Napi::Persistent(constructor);
  exports.Set("Recorder", constructor);
}

Napi::Object RecorderBinding::make(Napi::Env env, std::shared_ptr<SharedDevice> device) {
  Napi::Object object = instanceOf(env).recorderClass.New({});
  RecorderBinding* binding = Unwrap(object);
  binding->recorder_.emplace(device->backend().capabilities());
  binding->device_ = std::move(device);
  return object;
}

Recorder& RecorderBinding::use() {
  if (!recorder_) throw Error("INVALID_ARGUMENT", "A Recorder cannot be constructed; use device.record().");
  return *recorder_;
}

Napi::Value RecorderBinding::operation(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    Recorder& recorder = use();
    Request request;
    request.operation = textOf(info[0], "operation");
    Napi::Object arguments = objectOf(info[1], "arguments");
    request.label = textOf(info[2], "label");
    Napi::Array names = arguments.GetPropertyNames();
    for (uint32_t i = 0; i < names.Length(); ++i) {
      std::string name = names.Get(i).ToString().Utf8Value();
      Napi::Value value = arguments.Get(name);
      if (value.IsUndefined()) continue;
      if (value.IsNumber())
        request.numbers[name] = value.As<Napi::Number>().DoubleValue();
      else if (value.IsBoolean())
        request.numbers[name] = value.As<Napi::Boolean>().Value() ? 1 : 0;
      else if (value.IsString())
        request.strings[name] = value.As<Napi::String>().Utf8Value();
      else {
        const TensorBinding& tensor = TensorBinding::of(value, request.operation, name);
        request.tensors[name] = tensor.useOn(device_, request.operation, name);
      }
    }
    return TensorBinding::make(info.Env(), recorder.record(request), device_);
  });
}

Napi::Value RecorderBinding::finish(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    std::optional<bool> integerProducts;
    if (info[2].IsBoolean()) integerProducts = info[2].ToBoolean().Value();
    return ProgramBinding::make(
        info.Env(), use().finish(textOf(info[0], "name"), info[1].ToBoolean().Value(), integerProducts), device_);
  });
}

void ProgramBinding::define(Napi::Env env, Napi::Object exports) {
  Napi::Function constructor = DefineClass(
      env, "Program",
      {InstanceMethod<&ProgramBinding::prepare>("prepare"), InstanceMethod<&ProgramBinding::run>("run"),
       InstanceMethod<&ProgramBinding::dispose>("dispose"), InstanceAccessor<&ProgramBinding::operations>("operations"),
       InstanceAccessor<&ProgramBinding::arenaBytes>("arenaBytes")});
  instanceOf(env).programClass = Napi::Persistent(constructor);
  exports.Set("Program", constructor);
}

Napi::Object ProgramBinding::make(Napi::Env env, Plan plan, std::shared_ptr<SharedDevice> device) {
  Napi::Object object = instanceOf(env).programClass.New({});
  ProgramBinding* binding = Unwrap(object);
  for (const Operation& operation : plan.operations) binding->operations_.emplace_back(operation.name, operation.label);
  binding->arenaBytes_ = plan.arenaBytes;
  binding->state_ = std::make_shared<State>();
  binding->state_->plan = std::move(plan);
  binding->device_ = std::move(device);
  return object;
}

std::shared_ptr<ProgramBinding::State> ProgramBinding::use() const {
  if (!state_) throw Error("DISPOSED", "run: this program has been disposed; record it again.");
  return state_;
}

/** Called on the device's thread. If it fails, the next run tries again: memory may be free by then. */
void ProgramBinding::ensurePrepared(State& state, SharedDevice& device) {
  if (state.executable) return;
  state.executable = device.backend().prepare(state.plan);
  state.plan = Plan();
}

Napi::Value ProgramBinding::prepare(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::shared_ptr<State> state = use();
    return device_->submit(
        info.Env(), [state, device = device_.get()](const std::atomic<bool>&) { ensurePrepared(*state, *device); },
        [](Napi::Env env) { return env.Undefined(); });
  });
}

namespace {

Until untilOf(const Napi::Value& value) {
  if (value.IsUndefined()) return Until::all;
  const std::string when = textOf(value, "when");
  if (when == "all") return Until::all;
  if (when == "any") return Until::any;
  if (when == "another") return Until::another;
  throw Error::argumentError("INVALID_ARGUMENT", "run", "until.when", "'all', 'any' or 'another'",
                             std::string("'").append(when, 0, 100) + "'");
}

}  // namespace

Napi::Value ProgramBinding::run(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::shared_ptr<State> state = use();
    Napi::Object given = objectOf(info[0], "options");
    RunOptions options;
    options.times = sizeOf(given.Get("times"), "times");
    if (Napi::Value until = given.Get("until"); !until.IsUndefined()) {
      options.until = TensorBinding::of(until, "run", "until").useOn(device_, "run", "until");
      if (options.until.dtype != DType::int32 || !options.until.storage)
        throw Error::argumentError("INVALID_DTYPE", "run", "until", "an int32 tensor of the device",
                                   options.until.description());
      if (options.until.elements() == 0)
        throw Error::argumentError("INVALID_SHAPE", "run", "until", "one flag or more", options.until.description());
      if (!options.until.contiguous())
        throw Error::argumentError("INVALID_ARGUMENT", "run", "until", "contiguous", "a view of some columns");
    }
    options.when = untilOf(given.Get("when"));
    if (Napi::Value enough = given.Get("most"); !enough.IsUndefined())
      options.enough = sizeOf(enough, "most");
    else
      options.enough = options.until.storage ? options.until.elements() : 0;
    options.trace = given.Get("trace").ToBoolean().Value();
    options.stop = std::make_shared<std::atomic<bool>>(false);
    auto cancelled = std::make_shared<std::atomic<bool>>(false);
    auto result = std::make_shared<RunResult>();
    std::shared_ptr<Transfer> around = Transfer::of(given.Get("writes"), given.Get("reads"), device_, "run");
    std::shared_ptr<RowReads> rows = RowReads::of(given.Get("rows"), options.until, device_, "run");
    Napi::Value promise = device_->submit(
        info.Env(),
        [state, device = device_.get(), options, result, around, rows](const std::atomic<bool>& stop) {
          // Later jobs rely on what was written, even if this program cannot be prepared.
          around->write(device->backend());
          ensurePrepared(*state, *device);
          *result = state->executable->run(options, stop);
          if (stop) device->requireNotClosed();
          around->read(device->backend());
          if (rows) rows->read(device->backend());
        },
        [result, around, rows](Napi::Env env) -> Napi::Value {
          Napi::Object object = Napi::Object::New(env);
          object.Set("times", double(result->times));
          object.Set("elapsed", result->elapsed);
          object.Set("reads", around->arrays(env));
          if (rows) object.Set("rows", rows->arrays(env));
          if (!result->microseconds.empty()) {
            auto times = Napi::Float64Array::New(env, result->microseconds.size());
            std::copy(result->microseconds.begin(), result->microseconds.end(), times.Data());
            object.Set("microseconds", times);
            Napi::Array parts = Napi::Array::New(env, result->parts.size());
            for (size_t i = 0; i < result->parts.size(); ++i) {
              Napi::Object part = Napi::Object::New(env);
              part.Set("operation", double(result->parts[i].operation));
              part.Set("name", result->parts[i].name);
              part.Set("microseconds", result->parts[i].microseconds);
              parts.Set(uint32_t(i), part);
            }
            object.Set("parts", parts);
          }
          return object;
        },
        cancelled);
    Napi::Object handle = Napi::Object::New(info.Env());
    handle.Set("promise", promise);
    auto setter = [&](std::shared_ptr<std::atomic<bool>> flag) {
      return Napi::Function::New(info.Env(), [flag](const Napi::CallbackInfo&) { *flag = true; });
    };
    handle.Set("cancel", setter(cancelled));
    handle.Set("stop", setter(options.stop));
    return handle;
  });
}

Napi::Value ProgramBinding::operations(const Napi::CallbackInfo& info) {
  requireTag<ProgramBinding>(info);
  Napi::Array array = Napi::Array::New(info.Env(), operations_.size());
  for (size_t i = 0; i < operations_.size(); ++i) {
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("name", operations_[i].first);
    object.Set("label", operations_[i].second);
    array.Set(uint32_t(i), object);
  }
  return array;
}

Napi::Value ProgramBinding::arenaBytes(const Napi::CallbackInfo& info) {
  requireTag<ProgramBinding>(info);
  return Napi::Number::New(info.Env(), double(arenaBytes_));
}

void ProgramBinding::dispose(const Napi::CallbackInfo&) { state_.reset(); }

void FileBinding::define(Napi::Env env, Napi::Object exports) {
  Napi::Function constructor = DefineClass(
      env, "WeightsFile", {InstanceAccessor<&FileBinding::size>("size"), InstanceMethod<&FileBinding::close>("close")});
  instanceOf(env).fileClass = Napi::Persistent(constructor);
  exports.Set("WeightsFile", constructor);
}

FileBinding::FileBinding(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  tagObject<FileBinding>(info);
  guarded(info.Env(), [&] {
    const std::string path = textOf(info[0], "path");
    if (path.find('\0') != path.npos) refuse("path", "a path without null characters", info[0]);
    file_ = std::make_shared<WeightsFile>(path);
  });
}

const std::shared_ptr<WeightsFile>& FileBinding::use() const {
  if (!file_) throw Error("DISPOSED", "load: this file has been closed; open it again.");
  return file_;
}

Napi::Value FileBinding::size(const Napi::CallbackInfo& info) {
  requireTag<FileBinding>(info);
  return Napi::Number::New(info.Env(), file_ ? double(file_->size()) : 0);
}

}  // namespace onehead::addon
