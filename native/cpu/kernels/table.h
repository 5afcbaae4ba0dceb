// What dispatch.cc knows of one instruction set: its kernels and the scratch that they want.
#pragma once

#include "../kernels.h"

namespace onehead::cpu {

struct Variant {
  Kernels kernels;
  size_t (*linearRowsBytes)(int64_t rows, int64_t depth);
  size_t (*linearBytesBytes)(int64_t rows, int64_t depth, int threads);
  size_t (*attentionBytes)(const Attention&, AttentionAlgorithm, int threads);
  size_t (*logMelBytes)(const LogMel&, int threads);
  size_t (*nextTokenBytes)(int64_t batch, int threads);
  size_t (*nextBeamsBytes)(const NextBeams&, int threads);
  size_t (*alignPositionsBytes)(const AlignPositions&, int threads);
};

extern const Variant portableVariant;
extern const Variant avx2Variant;
extern const Variant avx2VnniVariant;
extern const Variant avx512Variant;
extern const Variant avx512VnniVariant;
extern const Variant avx512Bf16Variant;

}  // namespace onehead::cpu
