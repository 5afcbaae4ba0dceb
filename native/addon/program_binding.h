// The JavaScript classes Recorder, Program and WeightsFile.
#pragma once

#include <memory>
#include <optional>

#include "device_binding.h"

namespace onehead::addon {

class RecorderBinding final : public Napi::ObjectWrap<RecorderBinding> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  static Napi::Object make(Napi::Env env, std::shared_ptr<SharedDevice> device);
  explicit RecorderBinding(const Napi::CallbackInfo& info) : ObjectWrap(info) {}

 private:
  Napi::Value operation(const Napi::CallbackInfo& info);  // (name, arguments, label): Tensor
  Napi::Value finish(const Napi::CallbackInfo& info);     // (name, poison, integerProducts): Program
  /** Throws Error if the object was constructed from JavaScript. */
  Recorder& use();

  std::optional<Recorder> recorder_;
  std::shared_ptr<SharedDevice> device_;
};

class ProgramBinding final : public Napi::ObjectWrap<ProgramBinding> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  static Napi::Object make(Napi::Env env, Plan plan, std::shared_ptr<SharedDevice> device);
  static constexpr uint64_t tag = 2;
  explicit ProgramBinding(const Napi::CallbackInfo& info) : ObjectWrap(info) { tagObject<ProgramBinding>(info); }

 private:
  /** Shared with running jobs, so that disposing of a running program is safe. */
  struct State {
    Plan plan;
    std::unique_ptr<Executable> executable;
  };
  Napi::Value prepare(const Napi::CallbackInfo& info);     // (): Promise<void>
  Napi::Value run(const Napi::CallbackInfo& info);         // (options): {promise, cancel, stop}
  Napi::Value operations(const Napi::CallbackInfo& info);  // {name, label}[]
  Napi::Value arenaBytes(const Napi::CallbackInfo& info);
  void dispose(const Napi::CallbackInfo& info);
  std::shared_ptr<State> use() const;
  static void ensurePrepared(State& state, SharedDevice& device);

  std::shared_ptr<State> state_;
  std::shared_ptr<SharedDevice> device_;
  std::vector<std::pair<std::string, std::string>> operations_;  // name, label
  size_t arenaBytes_ = 0;
};

class FileBinding final : public Napi::ObjectWrap<FileBinding> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  static constexpr uint64_t tag = 3;
  explicit FileBinding(const Napi::CallbackInfo& info);
  /** Throws Error DISPOSED after close(). */
  const std::shared_ptr<WeightsFile>& use() const;

 private:
  Napi::Value size(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo&) { file_.reset(); }

  std::shared_ptr<WeightsFile> file_;
};

}  // namespace onehead::addon
