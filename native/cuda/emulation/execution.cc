#include "execution.h"

#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <stdexcept>

#if !defined(__x86_64__)
#error "The emulation switches fibers with x86-64 instructions; run the emulated tests on such a machine."
#endif

// Saves the caller's registers on its stack and its stack pointer in *save, then goes on where `to` was saved.
asm(R"(
.text
.globl onehead_emulation_switch
.hidden onehead_emulation_switch
.type onehead_emulation_switch,@function
onehead_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size onehead_emulation_switch,.-onehead_emulation_switch
)");
extern "C" void onehead_emulation_switch(void** save, void* to);

namespace onehead::emulation {

namespace {

constexpr size_t stackBytes = size_t(128) << 10;
constexpr int mostThreads = 1024;

thread_local Executor* currentExecutor = nullptr;

}  // namespace

Executor& executor() { return *currentExecutor; }

Executor::Executor() {
  fibers_.resize(mostThreads);
  warps_.resize(mostThreads / warpSize);
  void* stacks = ::mmap(nullptr, stackBytes * mostThreads, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stacks == MAP_FAILED) throw std::bad_alloc();
  stacks_ = static_cast<std::byte*>(stacks);
}

Executor::~Executor() { ::munmap(stacks_, stackBytes * mostThreads); }

void Executor::entry() {
  Executor& self = *currentExecutor;
  (*self.body_)();
  self.finish();
}

void Executor::finish() {
  Fiber& ended = fiber();
  ended.done = true;
  Warp& warp = warps_[size_t(current_ / warpSize)];
  // Those that wait already go on without a thread that has returned, as on the hardware.
  if (--warp.alive > 0 && warp.arrived == warp.alive) release(warp);
  if (--alive_ > 0 && arrived_ == alive_) {
    arrived_ = 0;
    ++generation_;
  }
  onehead_emulation_switch(&ended.stackPointer, schedulerStack_);
  __builtin_unreachable();
}

void Executor::waitFor(const int& generation) {
  Fiber& waiting = fiber();
  waiting.generation = &generation;
  waiting.seen = generation;
  onehead_emulation_switch(&waiting.stackPointer, schedulerStack_);
}

void Executor::blockBarrier() {
  if (++arrived_ == alive_) {
    arrived_ = 0;
    ++generation_;
    return;
  }
  waitFor(generation_);
}

void Executor::switchTo(Fiber& next) {
  next.generation = nullptr;
  onehead_emulation_switch(&schedulerStack_, next.stackPointer);
}

/** Runs a warp's lanes until each has ended or waits for another warp. True when any lane ran. */
bool Executor::runWarp(size_t warp, int threads) {
  const int first = int(warp) * warpSize, count = std::min(warpSize, threads - first);
  bool ran = false;
  for (bool again = true; again;) {
    again = false;
    random_ = random_ * 1664525u + 1013904223u;
    const int begin = int(random_ >> 16) % count;  // no order among lanes is promised, so each round has another
    for (int i = 0; i < count; ++i) {
      current_ = first + (begin + i) % count;
      Fiber& next = fibers_[size_t(current_)];
      if (next.done || (next.generation && *next.generation == next.seen)) continue;
      switchTo(next);
      again = ran = true;
    }
  }
  return ran;
}

void Executor::run(dim3 index, dim3 grid, dim3 threads, size_t sharedBytes, const std::function<void()>& body) {
  const int count = int(threads.x * threads.y * threads.z);
  const size_t warps = size_t((count + warpSize - 1) / warpSize);
  blockIndex = index;
  gridSize = grid;
  blockSize = threads;
  // Every byte is set to 0xff, which is NaN in each floating type: reading before writing shows.
  sharedMemory_.assign(sharedBytes + 256, std::byte(0xff));
  shared_ = sharedMemory_.data() + (128 - reinterpret_cast<uintptr_t>(sharedMemory_.data()) % 128) % 128;
  body_ = &body;
  alive_ = count;
  arrived_ = 0;
  misplaced_ = false;
  random_ = index.x * 2654435761u + index.y * 40503u + index.z + 1;
  for (size_t w = 0; w < warps; ++w) {
    warps_[w].alive = std::min(warpSize, count - int(w) * warpSize);
    warps_[w].arrived = 0;
  }
  for (int t = 0; t < count; ++t) {
    Fiber& fiber = fibers_[size_t(t)];
    fiber.done = false;
    fiber.generation = nullptr;
    fiber.pending.clear();
    fiber.groups.clear();
    const unsigned at = unsigned(t);
    fiber.index = dim3(at % threads.x, at / threads.x % threads.y, at / threads.x / threads.y);
    // As if `entry` had been called and had switched away at once: six registers below its return address.
    void** top = reinterpret_cast<void**>(stacks_ + stackBytes * size_t(t + 1));
    *--top = nullptr;  // keeps the stack aligned as a call would
    *--top = reinterpret_cast<void*>(&Executor::entry);
    top -= 6;
    fiber.stackPointer = top;
  }
  Executor* outer = currentExecutor;
  currentExecutor = this;
  while (alive_ > 0) {
    bool ran = false;
    random_ = random_ * 1664525u + 1013904223u;
    const size_t begin = random_ >> 16;
    for (size_t w = 0; w < warps; ++w) ran |= runWarp((begin + w) % warps, count);
    if (!ran) break;
  }
  currentExecutor = outer;
  if (alive_ > 0)
    throw std::runtime_error("threads of a block wait for each other forever: a barrier or collective not all reach");
  if (misplaced_)
    throw std::runtime_error("a load was given the other kind of memory, or an address that is not aligned for it");
  for (size_t i = sharedBytes; i < sharedBytes + 16; ++i)
    if (shared_[i] != std::byte(0xff)) throw std::runtime_error("a block wrote behind its shared memory");
}

std::string runGrid(dim3 grid, dim3 threads, size_t sharedBytes, const std::function<void()>& body) {
  const int64_t blocks = int64_t(grid.x) * grid.y * grid.z;
  std::mutex mutex;
  std::string failure;
  std::atomic<bool> failed = false;
  // OpenMP's threads stay, and with them each one's executor; a small grid is faster alone.
#pragma omp parallel for schedule(dynamic) num_threads(blocks < 8 ? 1 : std::min(4, omp_get_num_procs()))
  for (int64_t block = 0; block < blocks; ++block) {
    static thread_local std::unique_ptr<Executor> own;
    if (failed) continue;
    try {
      if (!own) own = std::make_unique<Executor>();
      dim3 index(unsigned(block % grid.x), unsigned(block / grid.x % grid.y), unsigned(block / grid.x / grid.y));
      own->run(index, grid, threads, sharedBytes, body);
    } catch (const std::exception& error) {
      std::lock_guard lock(mutex);
      failure = error.what();
      failed = true;
    }
  }
  return failure;
}

}  // namespace onehead::emulation
