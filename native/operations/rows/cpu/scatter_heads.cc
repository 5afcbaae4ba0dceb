// Quantizes heads of rows into chosen positions of an int8 cache, each with its own scale.
#include "cpu/kernels/bytes.h"
#include "cpu/kernels/family.h"

namespace onehead::cpu::ONEHEAD_ISA {

void scatterHeads(const ScatterHeadsArguments& a, const Team& team) {
  const Share share(a.batch * a.rows, team);
  for (int64_t row = share.begin; row < share.end; ++row) {
    const int64_t begin = a.begin[row / a.rows], to = begin + row % a.rows;
    if (begin < 0 || to >= a.positions) continue;
    for (int64_t g = 0; g < a.heads; ++g) {
      int8_t* y = a.y + (to * a.heads + g) * a.headSize;
      const int64_t from = row * a.stride + g * a.headSize;
      a.scales[to * a.heads + g] = a.xType == DType::bfloat16
                                       ? quantizeRow<Bf16>(static_cast<const Bf16*>(a.x) + from, a.headSize, y)
                                       : quantizeRow<float>(static_cast<const float*>(a.x) + from, a.headSize, y);
    }
  }
}

}  // namespace onehead::cpu::ONEHEAD_ISA
