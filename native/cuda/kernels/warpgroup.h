// Matrix products of a warpgroup (wgmma, compute capability 9.0 only): four warps, 64 rows, with the second operand in
// shared memory. They run asynchronously:
//   fenceOperands()          before the first product, and after writing registers that products use
//   multiplyGroup(d, a, b)   any number of products; d accumulates in order. The first operand is in shared memory too,
//                            or in registers: written anew for each product, because ptxas 13.0 reuses the registers
//                            of an operand that a loop does not change
//   commitProducts()         closes a group
//   waitForProducts<Left>()  waits for all but the latest `Left` groups; before that, d, a and the memory that b
//                            describes must not be accessed
// Arithmetic meant to run during products: ptxas 13.0 moves exponentials behind a later wait unless a branch stands
// between. With -Xptxas -v, a warning C75xx says that products were serialized, e.g. where other instructions write the
// sums of a product that is in flight over a loop's end.
// Threads that write operands to shared memory with plain stores or cp.async call shareWithMatrixUnit() before the
// barrier that publishes them.
//
// In shared memory an operand has rows of 64 half-precision elements, 128 bytes. The 16-byte chunks of a row are
// permuted by the row's number (128-byte swizzle, see chunkOffset), which avoids bank conflicts. It is aligned to 1,024
// bytes.
#pragma once

#include "tensor_core.h"

namespace onehead::cuda {

/** Bytes of an operand's row. */
constexpr int operandRow = 128;

/** The offset of chunk `chunk` of row `row`, in bytes. */
__device__ inline int chunkOffset(int row, int chunk) { return row * operandRow + (chunk ^ (row & 7)) * 16; }

#if !defined(__CUDACC__)
inline uint32_t sharedAddress(const void* pointer) { return emulation::executor().offsetOf(pointer); }
#endif

/**
 * The matrix descriptor (see PTX) of an operand with consecutive rows: its address, 1,024 bytes between groups of eight
 * rows, 128-byte swizzle. Rows are the operand's columns (keys) and the depth runs along them; for a transposed
 * operand, rows are the depth.
 */
__device__ inline uint64_t describeOperand(const void* at) {
  constexpr uint64_t eightRows = 8 * operandRow / 16, exchanged128 = 1;
  return uint64_t((sharedAddress(at) & 0x3ffff) / 16) | uint64_t(1) << 16 | eightRows << 32 | exchanged128 << 62;
}

#if defined(__CUDACC__)

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define ONEHEAD_WARPGROUPS 1
#endif

__device__ inline void shareWithMatrixUnit() {
#if defined(ONEHEAD_WARPGROUPS)
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
__device__ inline void fenceOperands() {
#if defined(ONEHEAD_WARPGROUPS)
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
__device__ inline void commitProducts() {
#if defined(ONEHEAD_WARPGROUPS)
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
template <int Left>
__device__ inline void waitForProducts() {
#if defined(ONEHEAD_WARPGROUPS)
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Left) : "memory");
#endif
}

/** Keeps the compiler from moving writes of these registers behind this place, or uses of them before it: beside waits.
 */
__device__ inline void pinRegisters(float (&d)[8][4]) {
#if defined(ONEHEAD_WARPGROUPS)
#pragma unroll
  for (int n = 0; n < 8; ++n) asm volatile("" : "+f"(d[n][0]), "+f"(d[n][1]), "+f"(d[n][2]), "+f"(d[n][3])::"memory");
#endif
}

// The PTX of a product: its type, the number of the operand `accumulate`, and what follows the 32 sums. The sums, which
// are its first operands.
#define ONEHEAD_PRODUCT(type, accumulate, operands)                          \
  "{\n.reg .pred accumulate;\nsetp.ne.b32 accumulate, %" accumulate          \
  ", 0;\n"                                                                   \
  "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type                \
  " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, " operands ";\n}\n"
#define ONEHEAD_FOUR_SUMS(d) "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
#define ONEHEAD_SUMS(d)                                                                               \
  ONEHEAD_FOUR_SUMS(d[0]), ONEHEAD_FOUR_SUMS(d[1]), ONEHEAD_FOUR_SUMS(d[2]), ONEHEAD_FOUR_SUMS(d[3]), \
      ONEHEAD_FOUR_SUMS(d[4]), ONEHEAD_FOUR_SUMS(d[5]), ONEHEAD_FOUR_SUMS(d[6]), ONEHEAD_FOUR_SUMS(d[7])

/**
 * d[64][64] = a[64][16] b[16][64], plus the previous d if `accumulate`. Each of the four warps holds 16 rows of a and
 * d, with the layout of tensor_core.h; d[n] is columns 8 n ... 8 n + 7. `b` describes 64 rows (columns of b), of which
 * 16 elements are used; if transposed, 16 rows of 64.
 */
template <class T, bool Transposed>
__device__ inline void multiplyGroup(float (&d)[8][4], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
#if defined(ONEHEAD_WARPGROUPS)
  if constexpr (std::is_same_v<T, float16>)
    asm volatile(ONEHEAD_PRODUCT("f16", "37", "{%32, %33, %34, %35}, %36, accumulate, 1, 1, %38")
                 : ONEHEAD_SUMS(d)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int(accumulate)), "n"(int(Transposed)));
  else
    asm volatile(ONEHEAD_PRODUCT("bf16", "37", "{%32, %33, %34, %35}, %36, accumulate, 1, 1, %38")
                 : ONEHEAD_SUMS(d)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int(accumulate)), "n"(int(Transposed)));
#endif
}

/** The same with `a` in shared memory: it describes 64 rows, of which 16 elements are used. b is not transposed. */
template <class T>
__device__ inline void multiplyGroup(float (&d)[8][4], uint64_t a, uint64_t b, bool accumulate) {
#if defined(ONEHEAD_WARPGROUPS)
  if constexpr (std::is_same_v<T, float16>)
    asm volatile(ONEHEAD_PRODUCT("f16", "34", "%32, %33, accumulate, 1, 1, 0, 0")
                 : ONEHEAD_SUMS(d)
                 : "l"(a), "l"(b), "r"(int(accumulate)));
  else
    asm volatile(ONEHEAD_PRODUCT("bf16", "34", "%32, %33, accumulate, 1, 1, 0, 0")
                 : ONEHEAD_SUMS(d)
                 : "l"(a), "l"(b), "r"(int(accumulate)));
#endif
}

#undef ONEHEAD_PRODUCT
#undef ONEHEAD_FOUR_SUMS
#undef ONEHEAD_SUMS

#else
#include "../emulation/warpgroup.inc"
#endif

}  // namespace onehead::cuda
