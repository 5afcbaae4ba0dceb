// What kernels are written with: CUDA when nvcc compiles them, the emulation (native/cuda/emulation) when a C++
// compiler does, and functions that are PTX instructions in the first case and plain code in the second.
//
// Kernels only use dynamic shared memory, since the emulation cannot poison static arrays.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "kernels.h"

namespace onehead::cuda {

/** The most blocks of a cluster on every device that has clusters. */
constexpr int portableCluster = 8;

#if defined(__CUDACC__)

/** The block's dynamic shared memory, aligned to 1,024 bytes. */
#define ONEHEAD_SHARED(type, name)                                       \
  extern __shared__ __align__(1024) unsigned char oneheadSharedMemory[]; \
  type* name = reinterpret_cast<type*>(oneheadSharedMemory)

/** Launches a kernel on the launcher's stream, in clusters of `cluster` blocks along x. */
template <class... Parameters>
cudaError_t launchClusters(const Launcher& launcher, int cluster, void (*kernel)(Parameters...), dim3 grid,
                           dim3 threads, size_t sharedBytes, std::type_identity_t<Parameters>... arguments) {
  if (sharedBytes > size_t(48) << 10) {
    // Always the device's maximum: the limit must not change after a graph was captured with a larger size.
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(launcher.sharedMemory));
    if (error != cudaSuccess) return error;
  }
  cudaLaunchAttribute attributes[2]{};
  unsigned count = 0;
  if (launcher.programmatic) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count++].val.clusterDim = {unsigned(cluster), 1, 1};
  }
  cudaLaunchConfig_t configuration{};
  configuration.gridDim = grid;
  configuration.blockDim = threads;
  configuration.dynamicSmemBytes = sharedBytes;
  configuration.stream = launcher.stream;
  configuration.attrs = attributes;
  configuration.numAttrs = count;
  return cudaLaunchKernelEx(&configuration, kernel, arguments...);
}

#else

#define ONEHEAD_SHARED(type, name) type* name = reinterpret_cast<type*>(onehead::emulation::executor().shared())

template <class... Parameters>
cudaError_t launchClusters(const Launcher& launcher, int cluster, void (*kernel)(Parameters...), dim3 grid,
                           dim3 threads, size_t sharedBytes, std::type_identity_t<Parameters>... arguments) {
  return emulation::enqueueGrid(launcher.stream, grid, cluster, threads, sharedBytes, [=] { kernel(arguments...); });
}

#endif

/** Launches a kernel on the launcher's stream. */
template <class... Parameters>
cudaError_t launch(const Launcher& launcher, void (*kernel)(Parameters...), dim3 grid, dim3 threads, size_t sharedBytes,
                   std::type_identity_t<Parameters>... arguments) {
  return launchClusters(launcher, 1, kernel, grid, threads, sharedBytes, arguments...);
}

/**
 * Programmatic dependent launch (compute capability 9.0 on; no effect before). Every kernel calls letNextKernelStart at
 * once; the next kernel then loads what no kernel writes (weights), and calls waitForPreviousKernel before it accesses
 * anything else. Every kernel waits, so when the previous kernel has ended, all earlier ones have too.
 */
__device__ inline void waitForPreviousKernel() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ inline void letNextKernelStart() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/** Starts loading this block's share of a range into the L2 cache (compute capability 9.0 on; no effect before). */
__device__ inline void prefetchShare(const Prefetch& range) {
  if (threadIdx.x != 0 || range.bytes == 0) return;
  const int64_t blocks = int64_t(gridDim.x) * gridDim.y * gridDim.z,
                block = (int64_t(blockIdx.z) * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const int64_t share = (range.bytes + blocks * 16 - 1) / (blocks * 16) * 16, begin = block * share;
  const int64_t left = range.bytes - begin, bytes = left < share ? left : share;
  if (bytes <= 0) return;
  const auto* from = static_cast<const unsigned char*>(range.data) + begin;
#if defined(__CUDACC__)
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(uint32_t(bytes)) : "memory");
#endif
#else
  emulation::executor().requireGlobal(from, 16);
#endif
}

#if defined(__CUDACC__)
__device__ inline uint32_t sharedAddress(const void* pointer) { return uint32_t(__cvta_generic_to_shared(pointer)); }
#endif

/** Copies `bytes` (of 16) to shared memory asynchronously, padded with zeros; both addresses are aligned to 16 bytes.
 * */
__device__ inline void copyAsync16(void* shared, const void* global, int bytes) {
#if defined(__CUDACC__)
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(sharedAddress(shared)), "l"(global), "r"(bytes)
               : "memory");
#else
  emulation::executor().requireGlobal(global, 16);
  emulation::executor().requireShared(shared, 16);
  emulation::executor().fiber().pending.push_back({shared, global, 16, bytes});
#endif
}
/** Copies 4 or 8 bytes in the same way, or zeros. */
template <int Bytes>
__device__ inline void copyAsyncSmall(void* shared, const void* global, bool valid) {
#if defined(__CUDACC__)
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;\n" ::"r"(sharedAddress(shared)), "l"(global), "n"(Bytes),
               "r"(valid ? Bytes : 0)
               : "memory");
#else
  emulation::executor().requireGlobal(global, Bytes);
  emulation::executor().requireShared(shared, Bytes);
  emulation::executor().fiber().pending.push_back({shared, global, Bytes, valid ? Bytes : 0});
#endif
}
/** Closes a group of copies. */
__device__ inline void commitCopies() {
#if defined(__CUDACC__)
  asm volatile("cp.async.commit_group;\n" ::: "memory");
#else
  auto& fiber = emulation::executor().fiber();
  size_t grouped = 0;
  for (size_t count : fiber.groups) grouped += count;
  fiber.groups.push_back(fiber.pending.size() - grouped);
#endif
}
/** Waits for all but the latest `Left` groups of this thread's copies. Other threads see them after a barrier. */
template <int Left>
__device__ inline void waitForCopies() {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_group %0;\n" ::"n"(Left) : "memory");
#else
  auto& fiber = emulation::executor().fiber();
  while (fiber.groups.size() > size_t(Left)) {
    for (size_t i = 0; i < fiber.groups.front(); ++i) {
      const emulation::Copy& copy = fiber.pending[i];
      std::memset(copy.to, 0, size_t(copy.bytes));
      if (copy.valid) std::memcpy(copy.to, copy.from, size_t(copy.valid));
      emulation::executor().noteArrival(copy.to, size_t(copy.bytes));
    }
    fiber.pending.erase(fiber.pending.begin(), fiber.pending.begin() + ptrdiff_t(fiber.groups.front()));
    fiber.groups.erase(fiber.groups.begin());
  }
#endif
}

// Clusters (compute capability 9.0 on): blocks that run at the same time and access each other's shared memory.

/** This block's rank in its cluster. */
__device__ inline int rankOf(int cluster) { return int(blockIdx.x) % cluster; }

/** Barrier of all threads of the cluster, in two halves: what a thread wrote before it arrived, also to shared memory,
 * is visible to all that have waited. It does not wait for what others do between the halves. */
__device__ inline void clusterArrive() {
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}
__device__ inline void clusterWait() {
#if defined(__CUDACC__)
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
#else
  emulation::executor().clusterBarrier();
#endif
}
__device__ inline void clusterBarrier() {
  clusterArrive();
  clusterWait();
}

/** The first half of the barrier without ordering memory, so it waits for no store: says only that this thread has
 * started, as all blocks must have before others store to their shared memory. */
__device__ inline void startInCluster() {
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#endif
}

/** Loads from the shared memory of the block with this rank, at the offset that `local` has in this block's. */
__device__ inline float loadFromRank(const float* local, int rank) {
#if defined(__CUDACC__)
  float value = 0;
#if __CUDA_ARCH__ >= 900
  uint32_t address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(sharedAddress(local)), "r"(rank));
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(value) : "r"(address) : "memory");
#endif
  return value;
#else
  return *reinterpret_cast<const float*>(emulation::executor().inBlock(rank, local));
#endif
}

/** Stores to the shared memory of the block with this rank, at the offset that `local` has in this block's. A cluster
 * barrier before ensures that all blocks have started; one after makes the stores visible. */
__device__ inline void storeToRank(float* local, int rank, float value) {
#if defined(__CUDACC__)
#if __CUDA_ARCH__ >= 900
  uint32_t address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(sharedAddress(local)), "r"(rank));
  asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(address), "f"(value) : "memory");
#endif
#else
  *reinterpret_cast<float*>(const_cast<std::byte*>(emulation::executor().inBlock(rank, local))) = value;
#endif
}

/** The same for two floats, aligned to 8 bytes. */
__device__ inline void storeToRank(float2* local, int rank, const float2& value) {
#if defined(__CUDACC__)
#if __CUDA_ARCH__ >= 900
  uint32_t address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(sharedAddress(local)), "r"(rank));
  asm volatile("st.shared::cluster.v2.f32 [%0], {%1, %2};" ::"r"(address), "f"(value.x), "f"(value.y) : "memory");
#endif
#else
  emulation::executor().requireShared(local, 8);
  *reinterpret_cast<float2*>(const_cast<std::byte*>(emulation::executor().inBlock(rank, local))) = value;
#endif
}

/** Loads 16 bytes of a weight through the read-only path: no kernel writes it. It is used once, so it is not allocated
 * in the L1 cache. */
__device__ inline uint4 loadConstant16(const void* global) {
#if defined(__CUDACC__)
  uint4 value;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(global));
  return value;
#else
  emulation::executor().requireGlobal(global, 16);
  uint4 value;
  std::memcpy(&value, global, sizeof value);
  return value;
#endif
}

/** The same for memory that an earlier kernel writes, possibly while this one was already running. */
__device__ inline uint4 loadStreaming16(const void* global) {
#if defined(__CUDACC__)
  uint4 value;
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(global)
               : "memory");
  return value;
#else
  return loadConstant16(global);
#endif
}

/** The same for 8 bytes. */
__device__ inline uint2 loadStreaming8(const void* global) {
#if defined(__CUDACC__)
  uint2 value;
  asm volatile("ld.global.L1::no_allocate.v2.u32 {%0, %1}, [%2];"
               : "=r"(value.x), "=r"(value.y)
               : "l"(global)
               : "memory");
  return value;
#else
  emulation::executor().requireGlobal(global, 8);
  uint2 value;
  std::memcpy(&value, global, sizeof value);
  return value;
#endif
}

/** Loads what another block of this launch wrote to global memory, bypassing the L1 cache. */
template <class Element>
__device__ inline Element loadUncached(const Element* global) {
#if defined(__CUDACC__)
  return __ldcg(global);
#else
  emulation::executor().requireGlobal(global, alignof(Element));
  return *global;
#endif
}

/** 2^x, accurate except for the last bits of a float32; 0 for -infinity. */
__device__ inline float exp2Fast(float x) {
#if defined(__CUDACC__)
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#else
  return ::exp2f(x);
#endif
}

/** 1 / x, accurate except for the last bit. */
__device__ inline float reciprocalFast(float x) {
#if defined(__CUDACC__)
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#else
  return 1.0f / x;
#endif
}

constexpr float infinity = __builtin_huge_valf();
constexpr float log2E = 1.4426950408889634f;
constexpr unsigned allLanes = 0xffffffffu;

}  // namespace onehead::cuda
