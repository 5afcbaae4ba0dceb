#include "cpu_backend.h"

#include <sched.h>

#include <cstdlib>
#include <cstring>
#include <dnnl.hpp>
#include <fstream>
#include <optional>
#include <set>

#include "../core/error.h"
#include "capabilities.h"
#include "executable.h"
#include "preparation.h"
#include "quantize.h"
#include "storage.h"

namespace onehead::cpu {

namespace {

class CpuBackend final : public Backend {
 public:
  CpuBackend(int threads, const Kernels& kernels) : threads_(threads), kernels_(kernels) {}

  Capabilities capabilities() const override { return cpu::capabilities(); }
  void start() override { team_ = std::make_unique<ThreadTeam>(threads_); }
  std::shared_ptr<Storage> allocate(size_t bytes) override { return std::make_shared<CpuStorage>(bytes, counter_); }
  std::shared_ptr<Storage> load(Source source, DType dtype, const Shape& shape) override {
    computedType(dtype, "load");
    return std::make_shared<CpuStorage>(std::move(source), dtype, shape, kernels_, counter_);
  }
  Quantized quantize(Source source, const Shape& shape) override {
    return quantized(source, shape, kernels_, counter_);
  }
  void write(Storage& to, size_t offset, const void* from, size_t bytes) override {
    std::memcpy(plain(to) + offset, from, bytes);
  }
  void read(Storage& from, size_t offset, void* to, size_t bytes) override {
    if (auto& storage = static_cast<CpuStorage&>(from); storage.isQuantizedWeight())
      std::memcpy(to, storage.unpacked().data() + offset, bytes);
    else
      std::memcpy(to, plain(from) + offset, bytes);
  }
  void copy(Storage& from, size_t fromOffset, Storage& to, size_t toOffset, size_t bytes) override {
    std::memmove(plain(to) + toOffset, plain(from) + fromOffset, bytes);
  }
  std::unique_ptr<Executable> prepare(Plan plan) override {
    try {
      std::shared_ptr<Buffer> arena = arena_.atLeast(plan.arenaBytes);
      auto executable = std::make_unique<CpuExecutable>(std::move(plan), std::move(arena), scratch_, *team_);
      Preparation(*executable, kernels_, *team_, onednn_).prepareAll();
      return executable;
    } catch (const dnnl::error& error) {
      if (error.status == dnnl_out_of_memory)
        throw Error("OUT_OF_MEMORY", "oneDNN could not allocate memory for a program; use a smaller model or batch.");
      throw Error("DEVICE_FAILED", "oneDNN could not prepare a program: " + std::string(error.what()) + ".");
    }
  }
  MemoryFigures memory() const override { return counter_->figures(); }
  void close() noexcept override {
    team_.reset();  // its threads would live until the last tensor and program are collected
    scratch_->buffer.reset();
  }

 private:
  static std::byte* plain(Storage& storage) { return static_cast<CpuStorage&>(storage).plain(); }

  int threads_;
  const Kernels& kernels_;
  std::unique_ptr<ThreadTeam> team_;  // led by the device's thread
  std::shared_ptr<MemoryCounter> counter_ = std::make_shared<MemoryCounter>();
  SharedBuffer arena_{counter_};
  std::shared_ptr<Scratch> scratch_ = std::make_shared<Scratch>(Scratch{{}, counter_});
  std::optional<Onednn> onednn_;
};

}  // namespace

static const Kernels& kernelsNamed(const std::string& name) {
  const Kernels* found = kernels(name.c_str());
  if (!found)
    throw Error("INVALID_ARGUMENT", "This CPU has no kernels named '" + name.substr(0, 100) +
                                        "'; run `onehead doctor` to list those that it has.");
  return *found;
}

const Kernels& defaultKernels() {
  const char* given = std::getenv("ONEHEAD_CPU_KERNELS");
  return given && *given ? kernelsNamed(given) : *kernels();
}

int defaultThreads() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    // Hardware threads of one core have the same list of siblings.
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    std::string siblings;
    cores.insert(std::getline(file, siblings) ? siblings : "cpu" + std::to_string(cpu));
  }
  return std::max(1, int(cores.size()));
}

std::shared_ptr<Backend> makeCpuBackend(const CpuOptions& options) {
  constexpr int maxThreads = 1024;
  if (options.threads < 0 || options.threads > maxThreads)
    throw Error("INVALID_ARGUMENT", "Expected threads to be a whole number from 1 to 1024 but received " +
                                        std::to_string(options.threads) + ".");
  const Kernels* chosen = options.kernels.empty() ? &defaultKernels() : &kernelsNamed(options.kernels);
  return std::make_shared<CpuBackend>(options.threads ? options.threads : defaultThreads(), *chosen);
}

}  // namespace onehead::cpu
