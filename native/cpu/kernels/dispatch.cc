// Chooses an instruction set at run time. Compiled with baseline flags only.
#include <string.h>

#include "../kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace onehead::cpu {

// Defined by table.cc for each instruction set.
extern const Kernels portableVariant;
extern const Kernels avx2Variant;
extern const Kernels avx2VnniVariant;
extern const Kernels avx512Variant;
extern const Kernels avx512VnniVariant;
extern const Kernels avx512Bf16Variant;
extern const Kernels avx512AmxVariant;
extern const Kernels amxEmulatedVariant;

namespace {

#if defined(__x86_64__)

/**
 * Instruction sets that the CPU has and the operating system saves the registers of. Read with CPUID, since
 * __builtin_cpu_supports needs a library that not every compiler links into an addon.
 */
class Features {
 public:
  Features() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return;
    const bool fused = bit(c, 12), halves = bit(c, 29);
    const unsigned savedState = bit(c, 27) ? savedRegisters() : 0;
    const bool savesAvx = (savedState & 0x06) == 0x06, savesAvx512 = (savedState & 0xe6) == 0xe6;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    avx2 = savesAvx && fused && halves && bit(b, 5);
    avx512 = avx2 && savesAvx512 && bit(b, 16) && bit(b, 17) && bit(b, 30) && bit(b, 31);  // f, dq, bw, vl
    avx512Vnni = avx512 && bit(c, 11);
    const bool tiles = avx512 && bit(d, 22) && bit(d, 24) && bit(d, 25);  // bfloat16, tiles, int8
    if (a < 1 || !__get_cpuid_count(7, 1, &a, &b, &c, &d)) return;
    avx2Vnni = avx2 && bit(a, 4);
    avx512Bf16 = avx512Vnni && bit(a, 5);
    avx512Amx = avx512Bf16 && tiles && mayUseTiles();
  }

  bool avx2 = false, avx2Vnni = false, avx512 = false, avx512Vnni = false, avx512Bf16 = false, avx512Amx = false;

 private:
  static bool bit(unsigned word, int index) { return (word >> index & 1) != 0; }

  /** XCR0: the registers that the operating system saves. */
  static unsigned savedRegisters() {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
  }

  /** Asks Linux to let this process use tiles, whose registers are 8 KiB. Refused by an old kernel, a sandbox, or if a
   * thread's stack for signals is too small for them. */
  static bool mayUseTiles() {
    // ARCH_GET_XCOMP_PERM, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    constexpr long getPermissions = 0x1022, requestPermission = 0x1023, tileData = 18;
    uint64_t permissions = 0;
    return syscall(SYS_arch_prctl, requestPermission, tileData) == 0 &&
           // a sandbox may claim that the request succeeded
           syscall(SYS_arch_prctl, getPermissions, &permissions) == 0 && (permissions >> tileData & 1) != 0;
  }
};

#else

struct Features {
  bool avx2 = false, avx2Vnni = false, avx512 = false, avx512Vnni = false, avx512Bf16 = false, avx512Amx = false;
};

#endif

const Features& features() {
  static const Features found;
  return found;
}

bool hasAvx2() { return features().avx2; }
bool hasAvx2Vnni() { return features().avx2Vnni; }
bool hasAvx512() { return features().avx512; }
bool hasAvx512Vnni() { return features().avx512Vnni; }
bool hasAvx512Bf16() { return features().avx512Bf16; }
bool hasAvx512Amx() { return features().avx512Amx; }

bool always() { return true; }

struct Candidate {
  const Kernels* kernels;
  bool (*supported)();
};

// Best first.
const Candidate candidates[] = {
#if defined(ONEHEAD_HAVE_AVX512_AMX)
    {&avx512AmxVariant, hasAvx512Amx},
#endif
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
#if defined(ONEHEAD_HAVE_AMX_EMULATED)
    {&amxEmulatedVariant, hasAvx512Bf16},  // for tests
#endif
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

const Kernels* availableKernels(int index) {
  constexpr int count = sizeof candidates / sizeof candidates[0];
  for (int i = count - 1; i >= 0; --i)
    if (candidates[i].supported() && index-- == 0) return candidates[i].kernels;
  return nullptr;
}

bool multipliesBfloat16() { return hasAvx512Bf16(); }

}  // namespace onehead::cpu
