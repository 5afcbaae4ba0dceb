// The probability of one token of each sequence.
#include "cpu/kernels/family.h"
#include "cpu/kernels/math.h"

namespace onehead::cpu::ONEHEAD_ISA {

void tokenProbability(const TokenProbabilityArguments& a, const Team& team) {
  const Share share(a.batch, team);
  for (int64_t b = share.begin; b < share.end; ++b) {
    const float* logits = a.logits + b * a.vocabulary;
    const SoftmaxParts parts = softmaxParts(logits, a.vocabulary);
    a.probability[b] = expNegative(logits[a.token] - parts.top) / parts.total;
  }
}

}  // namespace onehead::cpu::ONEHEAD_ISA
