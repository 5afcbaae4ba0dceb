// Matrix products of a warpgroup: four warps in step, 64 rows, the second operand straight from shared memory
// (wgmma, compute capability 9.0 alone). They run in the background:
//   fenceOperands()          before the first, and wherever registers that it takes were written since the last wait
//   multiplyGroup(d, a, b)   any number of them; d adds up in order
//   commitProducts()         ends a group
//   waitForProducts<Left>()  until all but the latest `Left` groups are done: before that, nobody touches d, a or what
//   b
//                            describes
// Shared memory that was written by plain stores or cp.async needs shareWithMatrixUnit() by its writers, before the
// barrier that shows it to others.
//
// In shared memory an operand is rows of 64 halves, 128 bytes, whose chunks of 16 bytes are exchanged by the row's
// number (`chunkPlace`), so that the unit reads without conflicts; it begins at a multiple of 1,024 bytes.
#pragma once

#include "tensor_core.h"

namespace onehead::cuda {

/** Bytes of an operand's row. */
constexpr int operandRow = 128;

/** Where chunk `chunk` of row `row` lies, bytes from the operand's begin. */
__device__ inline int chunkPlace(int row, int chunk) { return row * operandRow + (chunk ^ (row & 7)) * 16; }

#if !defined(__CUDACC__)
inline uint32_t sharedAddress(const void* pointer) { return emulation::executor().offsetOf(pointer); }
#endif

/**
 * What the matrix unit is told of an operand whose rows lie one after another (PTX: matrix descriptor): its address,
 * 1,024 bytes from eight rows to the next eight, chunks exchanged over 128 bytes. Rows are the operand's columns (keys)
 * and the product's depth goes along them, or, where it is taken transposed, rows are the depth.
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

/**
 * d[64][64] = a[64][16] b[16][64], added to what is there where `accumulate`. A warp of the four holds 16 rows of a and
 * d, as in tensor_core.h: d[n] is its columns 8 n ... 8 n + 7. `b` describes 64 rows (columns of b) of which 16 halves
 * are taken, or, transposed, 16 rows of 64.
 */
template <class T, bool Transposed>
__device__ inline void multiplyGroup(float (&d)[8][4], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
#if defined(ONEHEAD_WARPGROUPS)
  if constexpr (std::is_same_v<T, float16>)
    asm volatile(
        "{\n.reg .pred accumulate;\nsetp.ne.b32 accumulate, %37, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
        "{%32, %33, %34, %35}, %36, accumulate, 1, 1, %38;\n}\n"
        : "+f"(d[0][0]), "+f"(d[0][1]), "+f"(d[0][2]), "+f"(d[0][3]), "+f"(d[1][0]), "+f"(d[1][1]), "+f"(d[1][2]),
          "+f"(d[1][3]), "+f"(d[2][0]), "+f"(d[2][1]), "+f"(d[2][2]), "+f"(d[2][3]), "+f"(d[3][0]), "+f"(d[3][1]),
          "+f"(d[3][2]), "+f"(d[3][3]), "+f"(d[4][0]), "+f"(d[4][1]), "+f"(d[4][2]), "+f"(d[4][3]), "+f"(d[5][0]),
          "+f"(d[5][1]), "+f"(d[5][2]), "+f"(d[5][3]), "+f"(d[6][0]), "+f"(d[6][1]), "+f"(d[6][2]), "+f"(d[6][3]),
          "+f"(d[7][0]), "+f"(d[7][1]), "+f"(d[7][2]), "+f"(d[7][3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int(accumulate)), "n"(int(Transposed)));
  else
    asm volatile(
        "{\n.reg .pred accumulate;\nsetp.ne.b32 accumulate, %37, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
        "{%32, %33, %34, %35}, %36, accumulate, 1, 1, %38;\n}\n"
        : "+f"(d[0][0]), "+f"(d[0][1]), "+f"(d[0][2]), "+f"(d[0][3]), "+f"(d[1][0]), "+f"(d[1][1]), "+f"(d[1][2]),
          "+f"(d[1][3]), "+f"(d[2][0]), "+f"(d[2][1]), "+f"(d[2][2]), "+f"(d[2][3]), "+f"(d[3][0]), "+f"(d[3][1]),
          "+f"(d[3][2]), "+f"(d[3][3]), "+f"(d[4][0]), "+f"(d[4][1]), "+f"(d[4][2]), "+f"(d[4][3]), "+f"(d[5][0]),
          "+f"(d[5][1]), "+f"(d[5][2]), "+f"(d[5][3]), "+f"(d[6][0]), "+f"(d[6][1]), "+f"(d[6][2]), "+f"(d[6][3]),
          "+f"(d[7][0]), "+f"(d[7][1]), "+f"(d[7][2]), "+f"(d[7][3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int(accumulate)), "n"(int(Transposed)));
#endif
}

#else
#include "../emulation/warpgroup.inc"
#endif

}  // namespace onehead::cuda
