// The choice of an instruction set at run time. Compiled with the baseline flags only.
#include <string.h>

#include "table.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace onehead::cpu {
namespace {

// __builtin_cpu_supports asks the operating system too: it is false where the kernel does not save the registers.
bool hasAvx2() {
#if defined(__x86_64__)
  unsigned a, b, c, d;  // f16c by its bit: Clang 14 does not know its name
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __get_cpuid(1, &a, &b, &c, &d) &&
         (c >> 29 & 1) != 0;
#else
  return false;
#endif
}

bool hasAvx2Vnni() {
#if defined(__x86_64__)
  unsigned a, b, c, d;
  return hasAvx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1) != 0;
#else
  return false;
#endif
}

bool hasAvx512() {
#if defined(__x86_64__)
  return hasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#else
  return false;
#endif
}

bool hasAvx512Vnni() {
#if defined(__x86_64__)
  return hasAvx512() && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

bool hasAvx512Bf16() {
#if defined(__x86_64__)
  return hasAvx512Vnni() && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

bool hasAmxBf16() {
#if defined(__x86_64__)
  unsigned a, b, c, d;
  return hasAvx512() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1) != 0;
#else
  return false;
#endif
}

bool always() { return true; }

struct Candidate {
  const Variant* variant;
  bool (*supported)();
};

// The best first.
const Candidate candidates[] = {
#if defined(ONEHEAD_HAVE_AVX512_BF16)
    {&avx512Bf16Variant, hasAvx512Bf16},
#endif
#if defined(ONEHEAD_HAVE_AVX512_VNNI)
    {&avx512VnniVariant, hasAvx512Vnni},
#endif
#if defined(ONEHEAD_HAVE_AVX512)
    {&avx512Variant, hasAvx512},
#endif
#if defined(ONEHEAD_HAVE_AVX2_VNNI)
    {&avx2VnniVariant, hasAvx2Vnni},
#endif
#if defined(ONEHEAD_HAVE_AVX2)
    {&avx2Variant, hasAvx2},
#endif
    {&portableVariant, always},
};

/** The most scratch that any usable variant wants, so that one buffer serves whichever is chosen. */
template <typename Bytes>
size_t mostBytes(Bytes bytes) {
  size_t most = 64;
  for (const Candidate& candidate : candidates) {
    if (!candidate.supported()) continue;
    const size_t wanted = bytes(*candidate.variant);
    if (wanted > most) most = wanted;
  }
  return most;
}

}  // namespace

const Kernels* kernels() {
  for (const Candidate& candidate : candidates)
    if (candidate.supported()) return &candidate.variant->kernels;
  return nullptr;
}

const Kernels* kernels(const char* name) {
  for (const Candidate& candidate : candidates)
    if (strcmp(candidate.variant->kernels.name, name) == 0)
      return candidate.supported() ? &candidate.variant->kernels : nullptr;
  return nullptr;
}

bool multipliesBfloat16() { return hasAvx512Bf16() || hasAmxBf16(); }

size_t linearRowsScratch(int64_t rows, int64_t depth) {
  return mostBytes([&](const Variant& variant) { return variant.linearRowsBytes(rows, depth); });
}

size_t linearBytesScratch(int64_t rows, int64_t depth, int threads) {
  return mostBytes([&](const Variant& variant) { return variant.linearBytesBytes(rows, depth, threads); });
}

size_t attentionScratch(const Attention& arguments, AttentionAlgorithm algorithm, int threads) {
  return mostBytes([&](const Variant& variant) { return variant.attentionBytes(arguments, algorithm, threads); });
}

size_t logMelScratch(const LogMel& arguments, int threads) {
  return mostBytes([&](const Variant& variant) { return variant.logMelBytes(arguments, threads); });
}

size_t nextTokenScratch(int64_t batch, int threads) {
  return mostBytes([&](const Variant& variant) { return variant.nextTokenBytes(batch, threads); });
}

size_t nextBeamsScratch(const NextBeams& arguments, int threads) {
  return mostBytes([&](const Variant& variant) { return variant.nextBeamsBytes(arguments, threads); });
}

size_t alignPositionsScratch(const AlignPositions& arguments, int threads) {
  return mostBytes([&](const Variant& variant) { return variant.alignPositionsBytes(arguments, threads); });
}

}  // namespace onehead::cpu
