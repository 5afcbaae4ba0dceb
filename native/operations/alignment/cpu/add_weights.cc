// Sums attention weights over heads: the softmax of each head's scores over the visible keys.
#include "cpu/kernels/family.h"
#include "cpu/kernels/math.h"

namespace onehead::cpu::ONEHEAD_ISA {

void addWeights(const AddWeightsArguments& a, const Team& team) {
  const Share share(a.batch, team);
  for (int64_t b = share.begin; b < share.end; ++b) {
    const int64_t row = a.rows ? a.rows[b] : b;
    if (row < 0 || row >= a.pool) continue;
    const int64_t from = a.from[row], to = a.to[row], position = a.position[row];
    const int64_t keys = max(min(int64_t(a.counted[row]), a.keys), 0);
    if (from < 0 || from >= a.sources || to < 0 || to >= a.sequences || position < 0 || position >= a.positions)
      continue;
    float* y = a.y + (to * a.positions + position) * a.keys;
    if (a.fresh) __builtin_memset(y, 0, size_t(a.keys) * sizeof(float));
    for (int64_t head = 0; head < a.heads; ++head) {
      const float* scores = a.scores + (from * a.heads + head) * a.keys;
      const auto [top, total] = softmaxParts(scores, keys);
      const float factor = a.factor / total;
      int64_t n = 0;
      for (; n + vectorWidth <= keys; n += vectorWidth)
        store(y + n, load(y + n) + splat(factor) * expNegative(load(scores + n) - splat(top)));
      for (; n < keys; ++n) y[n] += factor * expNegative(scores[n] - top);
    }
  }
}

}  // namespace onehead::cpu::ONEHEAD_ISA
