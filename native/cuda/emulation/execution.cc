#include "execution.h"

#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <stdexcept>

#if !defined(__x86_64__)
#error "The emulation switches fibers with x86-64 instructions; run the emulated tests on an x86-64 machine."
#endif

// Saves the caller's registers on its stack and its stack pointer in *save, then resumes where `to` was saved.
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
constexpr int maxThreads = 2048;  // per cluster
constexpr int maxBlocks = 8;

thread_local Executor* currentExecutor = nullptr;

}  // namespace

Executor& executor() { return *currentExecutor; }

Executor::Executor() {
  fibers_.resize(maxThreads);
  warps_.resize(maxThreads / warpSize);
  groups_.resize(maxThreads / groupSize);
  blocks_.resize(maxBlocks);
  void* stacks = ::mmap(nullptr, stackBytes * maxThreads, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stacks == MAP_FAILED) throw std::bad_alloc();
  stacks_ = static_cast<std::byte*>(stacks);
}

Executor::~Executor() { ::munmap(stacks_, stackBytes * maxThreads); }

void Executor::entry() {
  Executor& self = *currentExecutor;
  (*self.body_)();
  self.finish();
}

void Executor::leave(Barrier& barrier) {
  // As on the hardware, a barrier does not wait for threads that have returned.
  if (--barrier.alive == 0 || barrier.arrived != barrier.alive) return;
  barrier.arrived = 0;
  ++barrier.generation;
}

void Executor::finish() {
  Fiber& ended = fiber();
  ended.done = true;
  invalidAccess_ |= block().readIn == cluster_.generation;
  Warp& warp = warps_[size_t(current_ / warpSize)];
  if (--warp.alive > 0 && warp.arrived == warp.alive) release(warp);
  leave(group().barrier);
  leave(block().barrier);
  leave(cluster_);
  onehead_emulation_switch(&ended.stackPointer, schedulerStack_);
  __builtin_unreachable();
}

void Executor::waitFor(const int& generation) {
  Fiber& waiting = fiber();
  waiting.generation = &generation;
  waiting.seen = generation;
  onehead_emulation_switch(&waiting.stackPointer, schedulerStack_);
}

void Executor::pass(Barrier& barrier) {
  if (++barrier.arrived == barrier.alive) {
    barrier.arrived = 0;
    ++barrier.generation;
    return;
  }
  waitFor(barrier.generation);
}

void Executor::noteArrival(const void* to, size_t bytes) {
  std::vector<Arrival>& arrivals = block().arrivals;
  if (arrivals.empty()) arrivals.resize(block().memory.size() / 16 + 1);
  for (size_t at = offsetOf(to); bytes > 0; at += 16, bytes -= std::min<size_t>(bytes, 16))
    arrivals[at / 16] = {current_, fiber().shared};
}

uint16_t Executor::readShared16(uint32_t offset) {
  Block& local = block();
  if (local.shared + offset + 2 > local.memory.data() + local.memory.size()) {
    invalidAccess_ = true;
    return 0;
  }
  if (!local.arrivals.empty()) {
    const Arrival& arrival = local.arrivals[offset / 16];
    invalidAccess_ |= arrival.fiber >= 0 && fibers_[size_t(arrival.fiber)].shared == arrival.shared;
  }
  uint16_t half;
  std::memcpy(&half, local.shared + offset, sizeof half);
  return half;
}

void Executor::multiplyGroup(float* sums, const uint32_t* a, uint64_t left, uint64_t operand, bool accumulate,
                             void (*compute)(Executor&, GroupProduct&)) {
  WarpGroup& of = group();
  Fiber& self = fiber();
  const size_t at = self.products++, thread = size_t(current_ % groupSize);
  if (at == of.products.size()) {
    of.products.push_back(std::make_unique<GroupProduct>());
    of.products[at]->left = left;
    of.products[at]->operand = operand;
    of.products[at]->accumulate = accumulate;
    of.products[at]->compute = compute;
  }
  GroupProduct& product = *of.products[at];
  invalidAccess_ |= !self.fenced || product.left != left || product.operand != operand ||
                    product.accumulate != accumulate || product.compute != compute || of.barrier.alive != groupSize;
  product.sums[thread] = sums;
  product.a[thread] = a;
  product.previous[thread] = -1;
  for (size_t before = self.settled; before < at; ++before)
    if (of.products[before]->sums[thread] == sums) product.previous[thread] = int(before);
  std::memcpy(product.results[thread], sums, sizeof product.results[thread]);
  std::fill_n(sums, 32, std::nanf(""));  // reads before the wait get NaN
  pass(of.barrier);
}

void Executor::waitForProducts(int left) {
  Fiber& self = fiber();
  self.fenced = false;
  const size_t groups = self.productGroups.size(), thread = size_t(current_ % groupSize);
  if (groups <= size_t(left)) return;
  const size_t until = self.productGroups[groups - 1 - size_t(left)];
  if (self.settled == until) return;
  pass(group().barrier);  // any thread may have changed operands until it waits
  for (; self.settled < until; ++self.settled) {
    GroupProduct& product = *group().products[self.settled];
    if (!product.computed) {
      for (int t = 0; t < groupSize; ++t) {
        const int previous = product.previous[t];
        if (!product.accumulate)
          std::fill_n(product.results[t], 32, 0.0f);
        else if (previous >= 0)
          std::memcpy(product.results[t], group().products[size_t(previous)]->results[t], sizeof product.results[t]);
      }
      product.compute(*this, product);
      product.computed = true;
    }
    std::memcpy(product.sums[thread], product.results[thread], sizeof product.results[thread]);
  }
}

void Executor::switchTo(Fiber& next) {
  next.generation = nullptr;
  onehead_emulation_switch(&schedulerStack_, next.stackPointer);
}

/** Runs a warp's lanes until each has ended or waits for another warp. Returns true if any lane ran. */
bool Executor::runWarp(size_t warp, int threads) {
  const int first = int(warp) * warpSize, count = std::min(warpSize, threads - first % threadsOfBlock_);
  if (count <= 0) return false;
  bool ran = false;
  for (bool again = true; again;) {
    again = false;
    random_ = random_ * 1664525u + 1013904223u;
    const int begin = int(random_ >> 16) % count;  // the order of lanes is undefined, so each round has another
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

void Executor::run(dim3 index, int cluster, dim3 grid, dim3 threads, size_t sharedBytes,
                   const std::function<void()>& body) {
  const int count = int(threads.x * threads.y * threads.z);
  const int warpsOfBlock = (count + groupSize - 1) / groupSize * 4;
  const size_t warps = size_t(warpsOfBlock * cluster);
  threadsOfBlock_ = warpsOfBlock * warpSize;
  threadCount_ = count;
  blockCount_ = cluster;
  gridSize = grid;
  blockSize = threads;
  body_ = &body;
  cluster_ = {count * cluster, 0, 0};
  invalidAccess_ = false;
  random_ = index.x * 2654435761u + index.y * 40503u + index.z + 1;
  for (int i = 0; i < cluster; ++i) {
    Block& block = blocks_[size_t(i)];
    block.index = dim3(index.x + unsigned(i), index.y, index.z);
    // Filled with 0xff, which is NaN in every floating type, so that reads of unwritten memory are noticed.
    block.memory.assign(sharedBytes + 2048, std::byte(0xff));
    block.shared = block.memory.data() + (1024 - reinterpret_cast<uintptr_t>(block.memory.data()) % 1024) % 1024;
    block.barrier = {count, 0, 0};
    block.readIn = -1;
    block.arrivals.clear();
  }
  for (size_t w = 0; w < warps; ++w) {
    warps_[w].alive = std::clamp(count - int(w) % warpsOfBlock * warpSize, 0, warpSize);
    warps_[w].arrived = 0;
  }
  for (size_t g = 0; g < warps / 4; ++g) {
    groups_[g].barrier = {std::min(groupSize, count - int(g) * groupSize % threadsOfBlock_), 0, 0};
    groups_[g].products.clear();
  }
  for (int i = 0; i < cluster * count; ++i) {
    const int fiberIndex = i / count * threadsOfBlock_ + i % count;
    Fiber& fiber = fibers_[size_t(fiberIndex)];
    fiber.done = false;
    fiber.generation = nullptr;
    fiber.pending.clear();
    fiber.groups.clear();
    fiber.products = fiber.settled = 0;
    fiber.productGroups.clear();
    fiber.fenced = false;
    fiber.shared = 0;
    const unsigned at = unsigned(i % count);
    fiber.index = dim3(at % threads.x, at / threads.x % threads.y, at / threads.x / threads.y);
    // As if `entry` had been called and had switched away at once: six saved registers below its return address.
    void** top = reinterpret_cast<void**>(stacks_ + stackBytes * size_t(fiberIndex + 1));
    *--top = nullptr;  // keeps the stack aligned as a call would
    *--top = reinterpret_cast<void*>(&Executor::entry);
    top -= 6;
    fiber.stackPointer = top;
  }
  Executor* outer = currentExecutor;
  currentExecutor = this;
  while (cluster_.alive > 0) {
    bool ran = false;
    random_ = random_ * 1664525u + 1013904223u;
    const size_t begin = random_ >> 16;
    for (size_t w = 0; w < warps; ++w) ran |= runWarp((begin + w) % warps, count);
    if (!ran) break;
  }
  currentExecutor = outer;
  if (cluster_.alive > 0)
    throw std::runtime_error("deadlock: some threads of a block did not reach a barrier or collective");
  if (invalidAccess_)
    throw std::runtime_error(
        "an instruction got an address in the wrong memory space, a misaligned address, or an operand that is not "
        "visible to it yet");
  for (int block = 0; block < cluster; ++block)
    for (size_t i = sharedBytes; i < sharedBytes + 16; ++i)
      if (blocks_[size_t(block)].shared[i] != std::byte(0xff))
        throw std::runtime_error("a block wrote beyond its shared memory");
}

std::string runGrid(dim3 grid, int cluster, dim3 threads, size_t sharedBytes, const std::function<void()>& body) {
  const int64_t blocks = int64_t(grid.x) * grid.y * grid.z, clusters = blocks / cluster;
  std::mutex mutex;
  std::string failure;
  std::atomic<bool> failed = false;
  // OpenMP keeps its threads, and each keeps its executor. A small grid is faster on one thread.
#pragma omp parallel for schedule(dynamic) num_threads(blocks < 8 ? 1 : std::min(4, omp_get_num_procs()))
  for (int64_t i = 0; i < clusters; ++i) {
    static thread_local std::unique_ptr<Executor> local;
    if (failed) continue;
    const int64_t block = i * cluster;
    try {
      if (!local) local = std::make_unique<Executor>();
      dim3 index(unsigned(block % grid.x), unsigned(block / grid.x % grid.y), unsigned(block / grid.x / grid.y));
      local->run(index, cluster, grid, threads, sharedBytes, body);
    } catch (const std::exception& error) {
      std::lock_guard lock(mutex);
      failure = error.what();
      failed = true;
    }
  }
  return failure;
}

}  // namespace onehead::emulation
