// Selects rows of a tensor.
#include "cpu/kernels/family.h"
#include "cpu/kernels/math.h"

namespace onehead::cpu::ONEHEAD_ISA {

void gatherRows(const GatherRowsArguments& a, const Team& team) {
  const Share share(a.count * a.batch, team);
  for (int64_t i = share.begin; i < share.end; ++i) {
    const int64_t row = min(max(int64_t(a.index[i]), 0), a.length - 1);
    __builtin_memcpy(a.y + i * a.width, a.x + (i % a.batch * a.length + row) * a.width,
                     size_t(a.width) * sizeof(float));
  }
}

}  // namespace onehead::cpu::ONEHEAD_ISA
