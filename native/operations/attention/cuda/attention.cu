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

/** Whether entries may share a range of a pool; the decode kernel computes those that do not. */
bool mayShareRanges(const AttentionArguments& a) { return a.keyBegin && a.batch > 1; }

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
  const bool split = a.algorithm == AttentionAlgorithm::splitKeyValue;
  const bool clusters = split && clusterAttentionFits(a, launcher);
  if (!split || !decodeFits(a, launcher))
    return clusters ? Needs{} : streamingNeeds(a, split, rangeGroupsOf(a, split), launcher);
  const Needs needs = decodeNeeds(a, launcher);
  if (!mayShareRanges(a) || clusters) return needs;
  const Needs shared = streamingNeeds(a, true, severalEntries, launcher);
  return {max(needs.scratchBytes, shared.scratchBytes), max(needs.counters, shared.counters)};
}

cudaError_t attention(const AttentionArguments& a, const Launcher& launcher) {
  if (keepsScores(a.algorithm)) return baselineAttention(a, launcher);
  const bool split = a.algorithm == AttentionAlgorithm::splitKeyValue;
  if (!split && warpgroupFits(a, launcher)) return warpgroupAttention(a, launcher);
  const bool clusters = split && clusterAttentionFits(a, launcher);
  if (!split || !decodeFits(a, launcher)) {
    if (clusters) return clusterAttention(a, rangeGroupsOf(a, split), launcher);
    AttentionArguments here = a;
    if (a.keyScales && a.newKey.data) {
      const cudaError_t error = appendQuantized(a, launcher);
      if (error != cudaSuccess) return error;
      here.newKey = here.newValue = {};
    }
    return streamingAttention(here, split, rangeGroupsOf(a, split), launcher);
  }
  const cudaError_t error = decodeAttention(a, launcher);
  if (error != cudaSuccess || !mayShareRanges(a)) return error;
  if (clusters) return clusterAttention(a, severalEntries, launcher);
  return streamingAttention(a, true, severalEntries, launcher);
}

}  // namespace onehead::cuda
