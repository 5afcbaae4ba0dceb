// The functions of cuBLASLt that we call, from the system's library or the emulation's substitute.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace onehead::cuda::cublas_lt {

using Handle = struct HandleOpaque*;
using Description = struct DescriptionOpaque*;
using Layout = struct LayoutOpaque*;
using Preference = struct PreferenceOpaque*;

struct Algorithm {
  uint64_t data[8];
};
struct Heuristic {
  Algorithm algorithm;
  size_t workspaceBytes;
  int state;
  float waves;
  int reserved[4];
};

constexpr int typeFloat32 = 0, typeFloat16 = 2, typeInt8 = 3, typeInt32 = 10, typeBfloat16 = 14;  // cudaDataType
constexpr int computeFloat32 = 68, computeInt32 = 72;  // CUBLAS_COMPUTE_32F and _32I
constexpr int32_t operationTransposed = 1;             // CUBLAS_OP_T
constexpr uint32_t epilogueBias = 4;                   // CUBLASLT_EPILOGUE_BIAS
// Attributes of a description and of a preference.
constexpr int transposeA = 3, epilogueKind = 7, biasPointer = 8;
constexpr int maxWorkspaceBytes = 1, minAlignmentA = 5;  // B, C and D follow

/** Functions return 0 for success. */
struct Library {
  std::string name;
  int (*create)(Handle*);
  int (*destroy)(Handle);
  int (*descriptionCreate)(Description*, int computeType, int scaleType);
  int (*descriptionSet)(Description, int attribute, const void* value, size_t bytes);
  int (*descriptionDestroy)(Description);
  int (*layoutCreate)(Layout*, int type, uint64_t rows, uint64_t columns, int64_t stride);
  int (*layoutDestroy)(Layout);
  int (*preferenceCreate)(Preference*);
  int (*preferenceSet)(Preference, int attribute, const void* value, size_t bytes);
  int (*preferenceDestroy)(Preference);
  int (*heuristic)(Handle, Description, Layout a, Layout b, Layout c, Layout d, Preference, int wanted, Heuristic*,
                   int* found);
  int (*matmul)(Handle, Description, const void* alpha, const void* a, Layout, const void* b, Layout, const void* beta,
                const void* c, Layout, void* d, Layout, const Algorithm*, void* workspace, size_t workspaceBytes,
                cudaStream_t);
};

/** Opened once and kept open; null if there is none. */
const Library* library();

}  // namespace onehead::cuda::cublas_lt
