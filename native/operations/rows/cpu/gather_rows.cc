// Chosen rows of a tensor.
#include "cpu/kernels/family.h"
#include "cpu/kernels/math.h"

namespace onehead::cpu::ONEHEAD_ISA {

void gatherRows(const GatherRows& a, const Team& team) {
  const Share share(a.batch, team);
  for (int64_t b = share.begin; b < share.end; ++b) {
    const int64_t row = smaller(larger(int64_t(a.index[b]) + a.offset, 0), a.length - 1);
    __builtin_memcpy(a.y + b * a.yStride, a.x + (b * a.length + row) * a.width, size_t(a.width) * sizeof(float));
  }
}

}  // namespace onehead::cpu::ONEHEAD_ISA
