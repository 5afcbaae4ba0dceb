// CUDA's execution model on the CPU: what kernels need to run, unchanged, in tests where there is no GPU.
//
// One block runs at a time on an OS thread, several blocks on several OS threads. Each CUDA thread is a fiber that runs
// until it must wait for others: at a barrier, or in a warp's collective (shuffle, matrix product). It proves indexing,
// arithmetic, the placing of barriers and of waits for asynchronous copies. It does not prove speed, memory ordering or
// races between blocks.
#pragma once

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__
#define __align__(bytes) alignas(bytes)
#define __grid_constant__

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }

namespace onehead::emulation {

constexpr int warpSize = 32;

/** What a lane shows the others of its warp in a collective. */
struct Slot {
  uint32_t words[16];
};

struct Warp {
  int alive = 0, arrived = 0, generation = 0;
  /** Two of each, used in turn: a lane may be a collective ahead of one that still reads. */
  Slot slots[2][warpSize];
};

struct Copy {
  void* to;
  const void* from;
  int bytes, valid;
};

/** A CUDA thread. */
struct Fiber {
  void* stackPointer = nullptr;
  /** Runnable once *generation differs from `seen`. */
  const int* generation = nullptr;
  int seen = 0;
  bool done = false;
  dim3 index;
  /** Asynchronous copies: made only when they are waited for, so that a missing wait shows. */
  std::vector<Copy> pending;
  std::vector<size_t> groups;  // copies in each committed group
};

/** Runs blocks on one OS thread. */
class Executor {
 public:
  Executor();
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /** Runs one block; throws std::runtime_error when its threads wait for each other forever. */
  void run(dim3 index, dim3 grid, dim3 threads, size_t sharedBytes, const std::function<void()>& body);

  void blockBarrier();
  /** Lane's part of a collective: `slot` is shown to the others, `last` runs once when all have shown theirs. */
  template <class Last>
  const Slot* collective(const Slot& slot, Last last) {
    Warp& warp = warps_[size_t(current_ / warpSize)];
    Slot* slots = warp.slots[warp.generation & 1];
    slots[current_ % warpSize] = slot;
    if (++warp.arrived == warp.alive) {
      last(slots);
      release(warp);
    } else {
      waitFor(warp.generation);
    }
    return slots;
  }
  int lane() const { return current_ % warpSize; }
  Fiber& fiber() { return fibers_[size_t(current_)]; }
  std::byte* shared() { return shared_; }
  /** For instructions that take one kind of memory only, at multiples of `bytes`: where a GPU would fault. */
  void requireGlobal(const void* address, size_t bytes) {
    misplaced_ |= isShared(address) || !isMultiple(address, bytes);
  }
  void requireShared(const void* address, size_t bytes) {
    misplaced_ |= !isShared(address) || !isMultiple(address, bytes);
  }

  dim3 blockIndex, blockSize, gridSize;

 private:
  static void entry();
  void waitFor(const int& generation);
  void release(Warp& warp) {
    warp.arrived = 0;
    ++warp.generation;
  }
  void switchTo(Fiber& fiber);
  bool runWarp(size_t warp, int threads);
  bool isShared(const void* address) const {
    const auto* byte = static_cast<const std::byte*>(address);
    return byte >= sharedMemory_.data() && byte < sharedMemory_.data() + sharedMemory_.size();
  }
  static bool isMultiple(const void* address, size_t bytes) {
    return reinterpret_cast<uintptr_t>(address) % bytes == 0;
  }
  void finish();

  std::vector<Fiber> fibers_;
  std::vector<Warp> warps_;
  std::byte* stacks_ = nullptr;
  std::vector<std::byte> sharedMemory_;
  std::byte* shared_ = nullptr;
  void* schedulerStack_ = nullptr;
  const std::function<void()>* body_ = nullptr;
  int current_ = 0, arrived_ = 0, generation_ = 0, alive_ = 0;
  uint32_t random_ = 1;
  bool misplaced_ = false;
};

/** The executor of the calling OS thread while it runs a block. */
Executor& executor();

/** Runs all blocks of a grid, several at once. Empty, or what went wrong. */
std::string runGrid(dim3 grid, dim3 threads, size_t sharedBytes, const std::function<void()>& body);

}  // namespace onehead::emulation

#define threadIdx (onehead::emulation::executor().fiber().index)
#define blockIdx (onehead::emulation::executor().blockIndex)
#define blockDim (onehead::emulation::executor().blockSize)
#define gridDim (onehead::emulation::executor().gridSize)

inline void __syncthreads() { onehead::emulation::executor().blockBarrier(); }
inline void __syncwarp(unsigned = ~0u) {
  onehead::emulation::executor().collective({}, [](auto*) {});
}
inline void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void __threadfence_system() { std::atomic_thread_fence(std::memory_order_seq_cst); }

namespace onehead::emulation {
template <class T>
T exchange(T value, int from) {
  static_assert(sizeof(T) <= sizeof(Slot));
  Slot slot;
  std::memcpy(slot.words, &value, sizeof value);
  const Slot* slots = executor().collective(slot, [](auto*) {});
  T result;
  std::memcpy(&result, slots[from].words, sizeof result);
  return result;
}
}  // namespace onehead::emulation

template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return onehead::emulation::exchange(value, onehead::emulation::executor().lane() ^ mask);
}
template <class T>
T __shfl_sync(unsigned, T value, int from) {
  return onehead::emulation::exchange(value, from & 31);
}

inline unsigned __ballot_sync(unsigned, int predicate) {
  onehead::emulation::Slot slot;
  slot.words[0] = predicate != 0;
  const onehead::emulation::Slot* slots = onehead::emulation::executor().collective(slot, [](auto*) {});
  unsigned ballot = 0;
  for (int lane = 0; lane < 32; ++lane) ballot |= unsigned(slots[lane].words[0] & 1) << lane;
  return ballot;
}
inline int __clz(int value) { return value == 0 ? 32 : __builtin_clz(unsigned(value)); }
inline int __ffs(int value) { return __builtin_ffs(value); }

template <class T>
T atomicAdd(T* address, T value) {
  return std::atomic_ref<T>(*address).fetch_add(value);
}
inline int atomicMax(int* address, int value) {
  std::atomic_ref<int> target(*address);
  int old = target.load();
  while (old < value && !target.compare_exchange_weak(old, value)) {
  }
  return old;
}
inline unsigned atomicMin(unsigned* address, unsigned value) {
  std::atomic_ref<unsigned> target(*address);
  unsigned old = target.load();
  while (old > value && !target.compare_exchange_weak(old, value)) {
  }
  return old;
}
template <class T>
T __ldg(const T* address) {
  return *address;
}
inline float __int_as_float(int bits) { return __builtin_bit_cast(float, bits); }
inline int __float_as_int(float value) { return __builtin_bit_cast(int, value); }
inline float rsqrtf(float x) { return 1 / __builtin_sqrtf(x); }
inline void sincospif(float x, float* sine, float* cosine) {
  *sine = float(std::sin(double(x) * 3.14159265358979323846));
  *cosine = float(std::cos(double(x) * 3.14159265358979323846));
}
