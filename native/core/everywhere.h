// For functions that the CPU's and the GPU's kernels share. Those that call them put them into an anonymous namespace,
// since each instruction set compiles its own.
#pragma once

#if defined(__CUDACC__)
#define ONEHEAD_EVERYWHERE __host__ __device__
#else
#define ONEHEAD_EVERYWHERE
#endif
