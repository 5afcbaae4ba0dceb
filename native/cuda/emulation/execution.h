// CUDA's execution model on the CPU, which runs kernels unchanged in tests without a GPU.
//
// An OS thread runs one cluster of blocks (usually of one block) at a time; several run at once. Each CUDA thread is a
// fiber that runs until it must wait for others: at a barrier of its block or cluster, or in a collective of its warp
// (shuffle, matrix product). This tests indexing, arithmetic, and the placement of barriers and of waits for
// asynchronous copies. It does not test speed, memory ordering or races between clusters.
#pragma once

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
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

/** The data that a lane contributes to a collective of its warp. */
struct Slot {
  uint32_t words[16];
};

struct Warp {
  int alive = 0, arrived = 0, generation = 0;
  /** Two sets, used in turn, since a lane may enter the next collective while another still reads the last one's. */
  Slot slots[2][warpSize];
};

struct Copy {
  void* to;
  const void* from;
  int bytes, valid;
};

class Executor;

/** A CUDA thread. */
struct Fiber {
  void* stackPointer = nullptr;
  /** The fiber can run when *generation differs from `seen`. */
  const int* generation = nullptr;
  int seen = 0;
  bool done = false;
  dim3 index;
  /** Asynchronous copies. They are performed when they are waited for, so that a missing wait is noticed. */
  std::vector<Copy> pending;
  std::vector<size_t> groups;  // number of copies in each committed group
  /** Products of the warpgroup: how many this thread has issued, and of how many it has the results; and the number
   * issued at the end of each group that it committed. */
  size_t products = 0, settled = 0;
  std::vector<size_t> productGroups;
  bool fenced = false;  // whether it called fenceOperands since it last waited for products
  uint32_t shared = 0;  // how often it called shareWithMatrixUnit
};

constexpr int groupSize = 4 * warpSize;

/** An asynchronous product of a warpgroup: operands and results of each thread. */
struct GroupProduct {
  float* sums[groupSize];
  const uint32_t* a[groupSize];
  float results[groupSize][32];
  /** Index of the previous product that accumulates into the same sums of a thread; -1 if there is none in flight. */
  int previous[groupSize];
  uint64_t left = 0, operand = 0;
  bool accumulate = false, computed = false;
  /** Adds the product to the results. */
  void (*compute)(Executor& executor, GroupProduct& product) = nullptr;
};

/** A barrier's state. */
struct Barrier {
  int alive = 0, arrived = 0, generation = 0;
};

struct WarpGroup {
  Barrier barrier;
  std::vector<std::unique_ptr<GroupProduct>> products;
};

/** Which fiber copied 16 bytes to shared memory asynchronously, and how often it had called shareWithMatrixUnit. */
struct Arrival {
  int fiber = -1;
  uint32_t shared = 0;
};

/** A block of a cluster. */
struct Block {
  dim3 index;
  std::vector<std::byte> memory;
  std::byte* shared = nullptr;
  Barrier barrier;
  /** The generation of the cluster's barrier in which another block last accessed this block's memory: no thread of
   * this block may end in that generation. */
  int readIn = -1;
  std::vector<Arrival> arrivals;  // for each 16 bytes of shared memory; empty before the first asynchronous copy
};

/** Runs clusters of blocks on one OS thread. */
class Executor {
 public:
  Executor();
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /** Runs the cluster of blocks from `index` on along x. Throws std::runtime_error on a deadlock or an invalid access.
   * */
  void run(dim3 index, int cluster, dim3 grid, dim3 threads, size_t sharedBytes, const std::function<void()>& body);

  void blockBarrier() { pass(block().barrier); }
  void clusterBarrier() { pass(cluster_); }
  /** A lane's part of a collective. Once all lanes have contributed their slot, the last one calls `last`. */
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
  Block& block() { return blocks_[size_t(current_ / threadsOfBlock_)]; }
  std::byte* shared() { return block().shared; }
  /** The address in the shared memory of another block of the cluster that corresponds to `address` in this block's. */
  const std::byte* inBlock(int rank, const void* address) {
    requireShared(address, 1);
    const bool valid = rank >= 0 && rank < blockCount_;
    Block& other = blocks_[valid ? size_t(rank) : 0];
    invalidAccess_ |= !valid || other.barrier.alive < threadCount_;  // a block that has ended has no shared memory
    invalidAccess_ |= cluster_.generation == 0;                      // before a cluster barrier it may not have started
    if (&other != &block()) other.readIn = cluster_.generation;
    return other.shared + (static_cast<const std::byte*>(address) - shared());
  }
  /** The offset in this block's shared memory. */
  uint32_t offsetOf(const void* address) {
    requireShared(address, 1);
    return uint32_t(static_cast<const std::byte*>(address) - shared());
  }
  /** Reports an error if `fine` is false: something that a GPU would fault at, or compute wrongly. */
  void require(bool fine) { invalidAccess_ |= !fine; }

  /** Notes that an asynchronous copy was performed. */
  void noteArrival(const void* to, size_t bytes);
  /** Reads two bytes as the tensor cores do, which only see copies after shareWithMatrixUnit. */
  uint16_t readShared16(uint32_t offset);
  void multiplyGroup(float* sums, const uint32_t* a, uint64_t left, uint64_t operand, bool accumulate,
                     void (*compute)(Executor&, GroupProduct&));
  void commitProducts() { fiber().productGroups.push_back(fiber().products); }
  void waitForProducts(int left);

  /** For instructions that only take one memory space, with alignment `bytes`: reports what a GPU would fault at. */
  void requireGlobal(const void* address, size_t bytes) {
    invalidAccess_ |= isShared(address) || !isMultiple(address, bytes);
  }
  void requireShared(const void* address, size_t bytes) {
    invalidAccess_ |= !isShared(address) || !isMultiple(address, bytes);
  }

  dim3 blockSize, gridSize;

 private:
  static void entry();
  void waitFor(const int& generation);
  WarpGroup& group() { return groups_[size_t(current_ / groupSize)]; }
  void pass(Barrier& barrier);
  static void leave(Barrier& barrier);
  void release(Warp& warp) {
    warp.arrived = 0;
    ++warp.generation;
  }
  void switchTo(Fiber& fiber);
  bool runWarp(size_t warp, int threads);
  bool isShared(const void* address) {
    const auto* byte = static_cast<const std::byte*>(address);
    const std::vector<std::byte>& memory = block().memory;
    return byte >= memory.data() && byte < memory.data() + memory.size();
  }
  static bool isMultiple(const void* address, size_t bytes) {
    return reinterpret_cast<uintptr_t>(address) % bytes == 0;
  }
  void finish();

  std::vector<Fiber> fibers_;
  std::vector<Warp> warps_;
  std::byte* stacks_ = nullptr;
  std::vector<Block> blocks_;
  std::vector<WarpGroup> groups_;
  Barrier cluster_;
  void* schedulerStack_ = nullptr;
  const std::function<void()>* body_ = nullptr;
  /** Fibers per block, in whole warpgroups (the fibers of blocks are consecutive); threads per block; blocks. */
  int threadsOfBlock_ = 1, threadCount_ = 1, blockCount_ = 1;
  int current_ = 0;
  uint32_t random_ = 1;
  bool invalidAccess_ = false;
};

/** The executor of the calling OS thread while it runs a block. */
Executor& executor();

/** Runs a grid in clusters, several at once. Returns an empty string, or what went wrong. */
std::string runGrid(dim3 grid, int cluster, dim3 threads, size_t sharedBytes, const std::function<void()>& body);

}  // namespace onehead::emulation

#define threadIdx (onehead::emulation::executor().fiber().index)
#define blockIdx (onehead::emulation::executor().block().index)
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
