// Chooses the kernels of an attention.
#include "attention.h"

namespace onehead::cuda {

namespace {

enum class Kernel { baseline, warpgroup, decode, ring, cluster, streaming };

/** What is launched: one kernel, or attention_decode.cu and another for entries that share a range of a pool. */
struct Choice {
  struct Launch {
    Kernel kernel;
    RangeGroups groups;  // for `cluster` and `streaming`
  };
  Launch launches[2]{};
  int count = 0;

  void add(Kernel kernel, RangeGroups groups = {}) { launches[count++] = {kernel, groups}; }
  const Launch* begin() const { return launches; }
  const Launch* end() const { return launches + count; }
};

bool keepsScores(AttentionAlgorithm algorithm) {
  return algorithm != AttentionAlgorithm::memoryEfficient && algorithm != AttentionAlgorithm::splitKeyValue;
}
bool splitsKeys(const AttentionArguments& a) { return a.algorithm == AttentionAlgorithm::splitKeyValue; }

/** Whether attention_ring.cu is predicted to be clearly faster than what was measured of the other kernels: with int8
 * caches, where instructions bound attention_decode.cu; for some 70 to 330 heads on 132 multiprocessors, which have
 * neither full clusters with all their keys in flight nor enough blocks; and for entries with ranges of a pool, which
 * may be the beams of a window. Other shapes keep the kernels that are measured to be near the memory's rate. */
bool ringPays(const AttentionArguments& a, const Launcher& launcher) {
  if (a.heads != a.keyValueHeads) return a.keyScales && !decodeFits(a, launcher);
  if (a.keyScales) return true;
  const int64_t heads = a.batch * a.heads, multiprocessors = launcher.multiprocessors;
  return heads > multiprocessors / 2 &&
         (a.keyBegin || (heads <= multiprocessors * 5 / 2 && a.keys > 4 * singleBlockKeys));
}

/** Both what memory an attention needs and what is launched follow from this. */
Choice choose(const AttentionArguments& a, const Launcher& launcher) {
  Choice choice;
  if (keepsScores(a.algorithm)) {
    choice.add(Kernel::baseline);
  } else if (!splitsKeys(a)) {
    choice.add(warpgroupFits(a, launcher) ? Kernel::warpgroup : Kernel::streaming);
  } else {
    const Kernel severalRows = clusterAttentionFits(a, launcher) ? Kernel::cluster : Kernel::streaming;
    if (ringFits(a, launcher) && ringPays(a, launcher)) {
      choice.add(Kernel::ring);
    } else if (decodeFits(a, launcher)) {
      choice.add(Kernel::decode);
      // decode attention skips entries that share their range.
      if (a.keyBegin && a.batch > 1) choice.add(severalRows, {2, maxRangeGroup});
    } else {
      choice.add(severalRows, a.keyBegin ? RangeGroups{1, maxRangeGroup} : RangeGroups{});
    }
  }
  return choice;
}

Needs needsOf(Kernel kernel, RangeGroups groups, const AttentionArguments& a, const Launcher& launcher) {
  switch (kernel) {
    case Kernel::baseline:
      return baselineNeeds(a);
    case Kernel::decode:
      return decodeNeeds(a, launcher);
    case Kernel::streaming:
      return streamingNeeds(a, splitsKeys(a), groups, launcher);
    case Kernel::warpgroup:
    case Kernel::ring:
    case Kernel::cluster:
      return {};
  }
  return {};
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

cudaError_t startStreaming(AttentionArguments a, RangeGroups groups, const Launcher& launcher) {
  if (a.keyScales && a.newKey.data) {
    const cudaError_t error = appendQuantized(a, launcher);
    if (error != cudaSuccess) return error;
    a.newKey = a.newValue = {};
  }
  return streamingAttention(a, splitsKeys(a), groups, launcher);
}

cudaError_t start(Kernel kernel, RangeGroups groups, const AttentionArguments& a, const Launcher& launcher) {
  switch (kernel) {
    case Kernel::baseline:
      return baselineAttention(a, launcher);
    case Kernel::warpgroup:
      return warpgroupAttention(a, launcher);
    case Kernel::decode:
      return decodeAttention(a, launcher);
    case Kernel::ring:
      return ringAttention(a, launcher);
    case Kernel::cluster:
      return clusterAttention(a, groups, launcher);
    case Kernel::streaming:
      return startStreaming(a, groups, launcher);
  }
  return cudaErrorInvalidValue;
}

}  // namespace

AttentionStages attentionStages(const AttentionArguments& a) {
  if (keepsScores(a.algorithm)) return baselineStages(a);
  AttentionStages stages;
  stages.add(AttentionStage::all);
  return stages;
}

Needs attentionNeeds(const AttentionArguments& a, const Launcher& launcher) {
  Needs needs;
  for (const auto& [kernel, groups] : choose(a, launcher)) {
    const Needs own = needsOf(kernel, groups, a, launcher);
    needs = {max(needs.scratchBytes, own.scratchBytes), max(needs.counters, own.counters)};
  }
  return needs;
}

cudaError_t attention(const AttentionArguments& arguments, const Launcher& launcher) {
  AttentionArguments a = arguments;
  for (const auto& [kernel, groups] : choose(a, launcher)) {
    const cudaError_t error = start(kernel, groups, a, launcher);
    if (error != cudaSuccess) return error;
    a.prefetch = {};  // the first launch has loaded it
  }
  return cudaSuccess;
}

}  // namespace onehead::cuda
