// Marks functions that CPU and GPU kernels share. Their headers put them into an anonymous namespace, since they are
// compiled for each instruction set.
#pragma once

#if defined(__CUDACC__)
#define ONEHEAD_EVERYWHERE __host__ __device__
#else
#define ONEHEAD_EVERYWHERE
#endif
