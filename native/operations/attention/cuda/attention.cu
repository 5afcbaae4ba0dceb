// Chooses the kernel for each attention algorithm.
#include "attention.h"

namespace onehead::cuda {

namespace {

bool keepsScores(AttentionAlgorithm algorithm) {
  return algorithm != AttentionAlgorithm::memoryEfficient && algorithm != AttentionAlgorithm::splitKeyValue;
}

/** Groups that the decode kernel skips. */
constexpr RangeGroups severalEntries{2, maxRangeGroup};

RangeGroups rangeGroupsOf(const AttentionArguments& a, bool split) {
  return split && a.keyBegin ? RangeGroups{1, maxRangeGroup} : RangeGroups{};
}

/** Whether a cluster computes split-kv: if a key/value head has several rows, which may be those of several entries. */
bool usesClusters(const AttentionArguments& a, const Launcher& launcher) {
  if (a.algorithm != AttentionAlgorithm::splitKeyValue) return false;
  return (!decodeFits(a) || (a.keyBegin && a.batch > 1)) && clusterAttentionFits(a, launcher);
}

/** Quantizes new keys and values into an int8 cache, for a kernel that reads them from there. */
cudaError_t appendQuantized(const AttentionArguments& a, const Launcher& launcher) {
  QuantizeHeadsArguments q{};
  q.batch = a.batch;
  q.rows = a.queries;
  q.positions = a.keys;
  q.heads = a.keyValueHeads;
  q.headSize = a.headSize;
  q.xType = a.type;
  q.batchStride = a.newKey.batchStride;
  q.rowStride = a.newKey.rowStride;
  q.begin = a.start;
  q.count = 2;
  q.parts[0] = {a.newKey.data, static_cast<int8_t*>(const_cast<void*>(a.k.data)), a.keyScales};
  q.parts[1] = {a.newValue.data, static_cast<int8_t*>(const_cast<void*>(a.v.data)), a.valueScales};
  q.stateful = true;
  q.stateRows = a.rows;
  q.pool = a.pool;
  return quantizeHeads(q, launcher);
}

}  // namespace

AttentionStages attentionStages(const AttentionArguments& a) {
  if (keepsScores(a.algorithm)) return baselineStages(a);
  AttentionStages stages;
  stages.add(AttentionStage::all);
  return stages;
}

Needs attentionNeeds(const AttentionArguments& a, const Launcher& launcher) {
  if (keepsScores(a.algorithm)) return baselineNeeds(a);
  if (usesClusters(a, launcher)) return {};
  const bool split = a.algorithm == AttentionAlgorithm::splitKeyValue;
  if (!split || !decodeFits(a)) return streamingNeeds(a, split, rangeGroupsOf(a, split), launcher);
  const Needs needs = decodeNeeds(a, launcher);
  if (!a.keyBegin) return needs;
  const Needs shared = streamingNeeds(a, true, severalEntries, launcher);
  return {max(needs.scratchBytes, shared.scratchBytes), max(needs.counters, shared.counters)};
}

cudaError_t attention(const AttentionArguments& a, const Launcher& launcher) {
  if (keepsScores(a.algorithm)) return baselineAttention(a, launcher);
  if (usesClusters(a, launcher)) return clusterAttention(a, launcher);
  const bool split = a.algorithm == AttentionAlgorithm::splitKeyValue;
  if (!split && warpgroupFits(a, launcher)) return warpgroupAttention(a, launcher);
  if (!split || !decodeFits(a)) {
    AttentionArguments here = a;
    if (a.keyScales && a.newKey.data) {
      const cudaError_t error = appendQuantized(a, launcher);
      if (error != cudaSuccess) return error;
      here.newKey = here.newValue = {};
    }
    return streamingAttention(here, split, rangeGroupsOf(a, split), launcher);
  }
  const cudaError_t error = decodeAttention(a, launcher);
  if (error != cudaSuccess || !a.keyBegin || a.batch == 1) return error;
  return streamingAttention(a, true, severalEntries, launcher);
}

}  // namespace onehead::cuda
