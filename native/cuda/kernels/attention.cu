// Which kernel computes which algorithm.
#include "attention.h"

namespace onehead::cuda {

AttentionNeeds attentionNeeds(const AttentionArguments& a, AttentionAlgorithm algorithm, const Launcher& launcher) {
  switch (algorithm) {
    case AttentionAlgorithm::memoryEfficient:
      return streamingNeeds(a, false, launcher);
    case AttentionAlgorithm::splitKeyValue:
      return decodeFits(a) ? decodeNeeds(a, launcher) : streamingNeeds(a, true, launcher);
    default:
      return baselineNeeds(a, algorithm);
  }
}

cudaError_t attention(const AttentionArguments& a, AttentionAlgorithm algorithm, const Launcher& launcher) {
  switch (algorithm) {
    case AttentionAlgorithm::memoryEfficient:
      return streamingAttention(a, false, launcher);
    case AttentionAlgorithm::splitKeyValue:
      return decodeFits(a) ? decodeAttention(a, launcher) : streamingAttention(a, true, launcher);
    default:
      return baselineAttention(a, algorithm, launcher);
  }
}

}  // namespace onehead::cuda
