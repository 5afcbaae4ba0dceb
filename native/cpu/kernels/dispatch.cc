// The choice of an instruction set at run time. Compiled with the baseline flags only.
#include <string.h>

#include "../kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace onehead::cpu {

// The tables that table.cc defines for each instruction set.
extern const Kernels portableVariant;
extern const Kernels avx2Variant;
extern const Kernels avx2VnniVariant;
extern const Kernels avx512Variant;
extern const Kernels avx512VnniVariant;
extern const Kernels avx512Bf16Variant;

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
  const Kernels* kernels;
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

}  // namespace

const Kernels* kernels() {
  for (const Candidate& candidate : candidates)
    if (candidate.supported()) return candidate.kernels;
  return nullptr;
}

const Kernels* kernels(const char* name) {
  for (const Candidate& candidate : candidates)
    if (strcmp(candidate.kernels->name, name) == 0) return candidate.supported() ? candidate.kernels : nullptr;
  return nullptr;
}

bool multipliesBfloat16() { return hasAvx512Bf16() || hasAmxBf16(); }

}  // namespace onehead::cpu
