// Runs every CPU kernel of every instruction set that this machine has against plain double-precision references.
// Exit status 1 when any case fails. Usage: kernels_check [instruction set]
#include "checking.h"

int main(int argc, char** argv) {
  for (const char* name : {"portable", "avx2", "avx2-vnni", "avx512", "avx512-vnni", "avx512-bf16"}) {
    if (argc > 1 && std::string(argv[1]) != name) continue;
    const Kernels* kernels = onehead::cpu::kernels(name);
    if (!kernels) {
      std::printf("%s: not on this machine\n", name);
      continue;
    }
    for (int threads = 1; threads <= 4; ++threads) {
      ThreadTeam team(threads);
      checkSmall(*kernels, team, threads);
      checkBytes(*kernels, team, threads);
      checkLinear(*kernels, team, threads);
      checkAttention(*kernels, team, threads);
      checkSoftmax(*kernels, team, threads);
      checkNextToken(*kernels, team, threads);
    }
    std::printf("%s: %lld cases so far, %lld failed\n", name, (long long)counts().cases, (long long)counts().failures);
  }
  std::printf("best: %s, native bfloat16: %d\n", onehead::cpu::kernels()->name, onehead::cpu::multipliesBfloat16());
  return counts().failures == 0 ? 0 : 1;
}
