// Which kernel computes which algorithm.
#include "attention.h"

namespace onehead::cuda {

namespace {

bool keepsScores(AttentionAlgorithm algorithm) {
  return algorithm != AttentionAlgorithm::memoryEfficient && algorithm != AttentionAlgorithm::splitKeyValue;
}

}  // namespace

std::vector<AttentionStage> attentionStages(const AttentionArguments& a, AttentionAlgorithm algorithm) {
  if (!keepsScores(algorithm)) return {AttentionStage::all};
  return baselineStages(a, algorithm);
}

AttentionNeeds attentionNeeds(const AttentionArguments& a, AttentionAlgorithm algorithm, const Launcher& launcher) {
  if (keepsScores(algorithm)) return baselineNeeds(a, algorithm);
  const bool split = algorithm == AttentionAlgorithm::splitKeyValue;
  return split && decodeFits(a) ? decodeNeeds(a, launcher) : streamingNeeds(a, split, launcher);
}

cudaError_t attention(const AttentionArguments& a, AttentionAlgorithm algorithm, AttentionStage stage,
                      const Launcher& launcher) {
  if (keepsScores(algorithm)) return baselineAttention(a, algorithm, stage, launcher);
  const bool split = algorithm == AttentionAlgorithm::splitKeyValue;
  return split && decodeFits(a) ? decodeAttention(a, launcher) : streamingAttention(a, split, launcher);
}

}  // namespace onehead::cuda
