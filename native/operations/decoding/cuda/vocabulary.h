// What nextToken and nextBeams share: one pass over the vocabulary by several blocks, which applies the rules of
// token_rules.h and summarizes what is left; the last block of a sequence combines the summaries. All loads are issued
// at once, logits first; maxima are computed before sums, so that exponentials do not depend on each other.
#pragma once

#include "cuda/kernels/numeric.h"
#include "operations/decoding/noise.h"
#include "operations/decoding/token_rules.h"

namespace onehead::cuda {

// 13 blocks for 51,866 tokens: at 32 sequences 416 blocks, about what 132 multiprocessors hold at once. With half as
// many logits per block there would be 832.
constexpr int choiceThreads = 256, choiceWarps = choiceThreads / 32;
constexpr int logitsPerThread = 16;
constexpr int64_t logitsPerBlock = choiceThreads * logitsPerThread;

/** The highest logit, the lowest token that has it, the sum of e^(logit - highest), and the sampled token. Tokens are
 * -1 if there are none. */
struct Summary {
  float highest = -infinity, sum = 0;
  int token = -1;
  float sampledScore = -infinity, sampledLogit = -infinity;  // logit / temperature + noise
  int sampled = -1;

  /** Takes the higher logit, or the lower token of equals. Does not combine sums. */
  __device__ void raise(float otherHighest, int otherToken) {
    if (otherToken < 0 || (token >= 0 && (highest > otherHighest || (highest == otherHighest && token < otherToken))))
      return;
    highest = otherHighest;
    token = otherToken;
  }
  __device__ void sample(float otherScore, float otherLogit, int otherSampled) {
    if (otherSampled < 0 ||
        (sampled >= 0 && (sampledScore > otherScore || (sampledScore == otherScore && sampled < otherSampled))))
      return;
    sampledScore = otherScore;
    sampledLogit = otherLogit;
    sampled = otherSampled;
  }
  /** Without sampling the chosen token is the most probable. */
  __device__ void sampleHighest() {
    sampledScore = sampledLogit = highest;
    sampled = token;
  }
  /** The sum relative to another maximum, which is at least as high. */
  __device__ float sumAbout(float above) const { return token < 0 ? 0.0f : sum * expf(highest - above); }
  __device__ void include(const Summary& other) {
    const Summary old = *this;
    raise(other.highest, other.token);
    sum = old.sumAbout(highest) + other.sumAbout(highest);
    sample(other.sampledScore, other.sampledLogit, other.sampled);
  }
  __device__ float logSum() const { return token < 0 ? -infinity : highest + logf(sum); }
};

struct Ranked {
  float logit;
  int token;
  __device__ bool before(const Ranked& other) const {
    return logit > other.logit || (logit == other.logit && token < other.token);
  }
};

/** A block's shared memory. */
struct ChoiceShared {
  Summary summaries[choiceWarps];
  Ranked ranked[choiceWarps];
  int last, timestamp;
};

/** One entry's scratch memory. */
struct ChoiceScratch {
  Summary* parts;  // [blocks][2]: text, timestamps
  Ranked* lists;   // [blocks][2][count]
  Ranked* ranked;  // [count]: the overall ranking; token -1 beyond the last
  float* logSum;

  __host__ __device__ static size_t bytes(int64_t blocks, int64_t count) {
    const size_t unpadded =
        size_t(blocks) * 2 * sizeof(Summary) + size_t(blocks * 2 + 1) * size_t(count) * sizeof(Ranked) + 16;
    return (unpadded + 15) / 16 * 16;
  }
  __device__ ChoiceScratch(void* scratch, int64_t b, int64_t blocks, int64_t count) {
    auto* base = static_cast<unsigned char*>(scratch) + size_t(b) * bytes(blocks, count);
    logSum = reinterpret_cast<float*>(base);
    parts = reinterpret_cast<Summary*>(base + 16);
    lists = reinterpret_cast<Ranked*>(parts + blocks * 2);
    ranked = lists + blocks * 2 * count;
  }
};

__host__ __device__ inline int64_t choiceBlocks(int64_t vocabulary) {
  return (vocabulary + logitsPerBlock - 1) / logitsPerBlock;
}

/** A sequence's sampling; inverse 0 means none: the most probable token is chosen. */
struct Sampler {
  float inverse = 0;
  uint32_t key = 0;

  __device__ Sampler(const NextTokenArguments& n, int64_t row) {
    if (!n.temperature || !(n.temperature[row] > 0)) return;
    inverse = 1 / n.temperature[row];
    key = noiseKey(n.seed[row], int64_t(n.length[row]) - n.begin[row]);
  }
  /** Adds a token to a thread's summary. */
  __device__ void offer(Summary& summary, float logit, int token) const {
    summary.raise(logit, token);
    if (inverse == 0) return;
    // Noise (two logarithms) is computed only if it can matter.
    if (logit * inverse + maxNoise < summary.sampledScore) return;
    summary.sample(logit * inverse + gumbelNoise(key, token), logit, token);
  }
};

/** Combines the lanes' summaries; every lane gets the result. */
__device__ inline Summary combineWarp(const Summary& summary, bool sampling) {
  Summary all = summary;
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    const float highest = __shfl_xor_sync(allLanes, all.highest, mask);
    all.raise(highest, __shfl_xor_sync(allLanes, all.token, mask));
  }
  all.sum = warpSum(summary.sumAbout(all.highest));
  if (!sampling) {
    all.sampleHighest();
    return all;
  }
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    const float score = __shfl_xor_sync(allLanes, all.sampledScore, mask);
    const float logit = __shfl_xor_sync(allLanes, all.sampledLogit, mask);
    all.sample(score, logit, __shfl_xor_sync(allLanes, all.sampled, mask));
  }
  return all;
}

/** Combines the block's summaries; every thread gets the result. */
__device__ inline Summary combineSummaries(const Summary& summary, bool sampling, ChoiceShared& shared) {
  const Summary warp = combineWarp(summary, sampling);
  const int lane = int(threadIdx.x) % 32;
  __syncthreads();
  if (lane == 0) shared.summaries[threadIdx.x / 32] = warp;
  __syncthreads();
  return combineWarp(lane < choiceWarps ? shared.summaries[lane] : Summary(), sampling);
}

__device__ inline Ranked combineRanked(Ranked best, ChoiceShared& shared) {
  auto combine = [&] {
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) {
      const Ranked other{__shfl_xor_sync(allLanes, best.logit, mask), __shfl_xor_sync(allLanes, best.token, mask)};
      if (other.token >= 0 && (best.token < 0 || other.before(best))) best = other;
    }
  };
  combine();
  const int lane = int(threadIdx.x) % 32;
  __syncthreads();
  if (lane == 0) shared.ranked[threadIdx.x / 32] = best;
  __syncthreads();
  best = lane < choiceWarps ? shared.ranked[lane] : Ranked{-infinity, -1};
  combine();
  return best;
}

/** Writes the `count` highest of what `visit(consider)` passes to `consider` to `list`; token -1 beyond the last.
 * Called by the block. */
template <class Visit>
__device__ inline void rankInto(Ranked* list, int64_t count, ChoiceShared& shared, Visit visit) {
  Ranked last{infinity, -1};
  for (int64_t i = 0; i < count; ++i) {
    Ranked best{-infinity, -1};
    visit([&](const Ranked& one) {
      if (one.token >= 0 && one.logit > -infinity && last.before(one) && (best.token < 0 || one.before(best)))
        best = one;
    });
    best = combineRanked(best, shared);
    if (threadIdx.x == 0) list[i] = best;
    if (best.token < 0) {
      for (int64_t rest = i + 1 + threadIdx.x; rest < count; rest += choiceThreads) list[rest] = best;
      break;
    }
    last = best;
  }
}

/** Applies repetition penalty and forbidden n-grams to the block's logits [begin, end) of entry b, whose state is in
 * this row. Called by the block; returns true if logits may have changed. */
__device__ inline bool penalize(const NextTokenArguments& n, int64_t b, int64_t row, int64_t begin, int64_t end) {
  const int64_t generated = int64_t(n.length[row]) - n.begin[row];
  const int32_t* tokens = n.tokens + row * n.capacity + n.begin[row];
  float* logits = n.logits + b * n.vocabulary;
  auto inBlock = [&](int64_t token) { return token >= begin && token < end && !isTimestamp(n, token); };
  const float penalty = n.repetitionPenalty ? n.repetitionPenalty[row] : 1;
  if (penalty != 1) {
    for (int64_t i = threadIdx.x; i < generated; i += choiceThreads) {
      if (!inBlock(tokens[i])) continue;
      bool first = true;
      for (int64_t j = 0; j < i && first; ++j) first = tokens[j] != tokens[i];
      float& logit = logits[tokens[i]];
      if (first) logit = logit > 0 ? logit / penalty : logit * penalty;
    }
    __syncthreads();
  }
  const int64_t size = n.noRepeat ? n.noRepeat[row] : 0;
  if (size <= 0 || generated + 1 < size) return penalty != 1;
  const int32_t* last = tokens + generated - (size - 1);
  for (int64_t i = threadIdx.x; i + size <= generated; i += choiceThreads) {
    bool same = true;
    for (int64_t j = 0; j < size - 1 && same; ++j) same = tokens[i + j] == last[j];
    if (same && inBlock(tokens[i + size - 1])) logits[tokens[i + size - 1]] = -infinity;
  }
  __syncthreads();
  return true;
}

/** A thread's logits of an entry. */
struct ThreadLogits {
  float values[logitsPerThread];

  __device__ static int tokenOf(int i) {
    return int(blockIdx.x * logitsPerBlock) + i * choiceThreads + int(threadIdx.x);
  }
  /** Loads before anything else of the entry is known. */
  __device__ ThreadLogits(const NextTokenArguments& n, int64_t b) {
#pragma unroll
    for (int i = 0; i < logitsPerThread; ++i)
      values[i] = tokenOf(i) < int(n.vocabulary) ? n.logits[b * n.vocabulary + tokenOf(i)] : -infinity;
  }
};

/** The state of a sequence, loaded at once. token_rules.h accepts it in place of the arguments. */
struct RowState {
  struct Value {
    int32_t value;
    __device__ int32_t operator[](int64_t) const { return value; }
  };
  int64_t vocabulary, capacity;
  int32_t endToken, timestampBegin, timestampEnd, noTimestampsToken, maxInitialTimestamp;
  const int32_t* tokens;
  Value length, begin, minimum, maximum, timestamps;

  __device__ RowState(const NextTokenArguments& n, int64_t row)
      : vocabulary(n.vocabulary),
        capacity(n.capacity),
        endToken(n.endToken),
        timestampBegin(n.timestampBegin),
        timestampEnd(n.timestampEnd),
        noTimestampsToken(n.noTimestampsToken),
        maxInitialTimestamp(n.maxInitialTimestamp),
        tokens(n.tokens),
        length{n.length[row]},
        begin{n.begin[row]},
        minimum{n.minimum[row]},
        maximum{n.maximum[row]},
        timestamps{n.timestamps[row]} {}
};

/**
 * Filters, summarizes and ranks (`count` tokens) a block's part of entry b, whose state is in this row. Returns true in
 * the last block of the entry: there `choice` is the combined summary (without text if timestamps are more probable),
 * and scratch memory holds the ranked tokens and logSum.
 */
__device__ inline bool summarizeVocabulary(const NextTokenArguments& n, int64_t b, int64_t row, int64_t count,
                                           const RowState& state, ThreadLogits logits, const ChoiceScratch& scratch,
                                           ChoiceShared& shared, Summary& choice) {
  const int begin = int(blockIdx.x * logitsPerBlock), end = min(int(n.vocabulary), begin + int(logitsPerBlock));
  const uint8_t* suppressed = n.suppressed + row * n.suppressedStride;
  uint32_t suppressedBits = 0;  // suppressed bits of the thread's tokens, two for each
#pragma unroll
  for (int i = 0; i < logitsPerThread; ++i)
    if (ThreadLogits::tokenOf(i) < end) suppressedBits |= uint32_t(suppressed[ThreadLogits::tokenOf(i)] & 3) << (2 * i);
  const Sampler sampler(n, row);
  const bool sampling = sampler.inverse != 0;
  const ForbiddenTokens forbidden = forbiddenTokens(state, row);
  if (penalize(n, b, row, begin, end)) logits = ThreadLogits(n, b);
  uint32_t forbiddenBits = 0;  // forbidden tokens of the thread, one bit for each
  for (int range = 0; range < forbidden.count; ++range) {
    const int from = int(forbidden.ranges[range].begin), to = int(forbidden.ranges[range].end);
#pragma unroll
    for (int i = 0; i < logitsPerThread; ++i)
      forbiddenBits |= uint32_t(ThreadLogits::tokenOf(i) >= from && ThreadLogits::tokenOf(i) < to) << i;
  }
#pragma unroll
  for (int i = 0; i < logitsPerThread; ++i) {
    const bool allowed = (suppressedBits >> (2 * i) & forbidden.suppressedBits) == 0 && (forbiddenBits >> i & 1) == 0;
    if (!allowed || !(logits.values[i] > -infinity)) logits.values[i] = -infinity;  // NaN is not chosen either
  }
  auto summarize = [&](bool ofTimestamps) {
    Summary summary;
    auto counts = [&](int i) {
      return logits.values[i] > -infinity && isTimestamp(n, ThreadLogits::tokenOf(i)) == ofTimestamps;
    };
#pragma unroll
    for (int i = 0; i < logitsPerThread; ++i)
      if (counts(i)) sampler.offer(summary, logits.values[i], ThreadLogits::tokenOf(i));
#pragma unroll
    for (int i = 0; i < logitsPerThread; ++i)
      if (counts(i)) summary.sum += expf(logits.values[i] - summary.highest);
    return combineSummaries(summary, sampling, shared);
  };
  // Most blocks have only text or only timestamps.
  Summary text, timestamps;
  if (begin < n.timestampBegin || end > n.timestampEnd) text = summarize(false);
  if (begin < n.timestampEnd && end > n.timestampBegin) timestamps = summarize(true);
  for (int kind = 0; kind < 2 && count > 0; ++kind)
    rankInto(scratch.lists + (int64_t(blockIdx.x) * 2 + kind) * count, count, shared, [&](auto consider) {
#pragma unroll
      for (int i = 0; i < logitsPerThread; ++i) {
        const int token = ThreadLogits::tokenOf(i);
        if (isTimestamp(n, token) == (kind == 1)) consider(Ranked{logits.values[i], token});
      }
    });

  if (threadIdx.x == 0) {
    scratch.parts[blockIdx.x * 2] = text;
    scratch.parts[blockIdx.x * 2 + 1] = timestamps;
  }
  if (!isLastBlock(n.counters + b, int(gridDim.x), &shared.last)) return false;

  auto part = [&](int64_t i) {
    const Summary* from = scratch.parts + i;
    Summary loaded;
    loaded.highest = loadUncached(&from->highest);
    loaded.sum = loadUncached(&from->sum);
    loaded.token = loadUncached(&from->token);
    loaded.sampledScore = loadUncached(&from->sampledScore);
    loaded.sampledLogit = loadUncached(&from->sampledLogit);
    loaded.sampled = loadUncached(&from->sampled);
    return loaded;
  };
  // Every warp computes the result for itself.
  text = timestamps = Summary();
  for (int i = int(threadIdx.x) % 32; i < int(gridDim.x); i += 32) {
    const Summary first = part(i * 2), second = part(i * 2 + 1);
    text.include(first);
    timestamps.include(second);
  }
  text = combineWarp(text, sampling);
  timestamps = combineWarp(timestamps, sampling);
  const bool timestamp = state.timestamps.value && timestamps.logSum() > text.highest;
  choice = timestamps;
  if (!timestamp) {
    choice = text;
    choice.include(timestamps);
  }
  if (count > 0)
    rankInto(scratch.ranked, count, shared, [&](auto consider) {
      for (int64_t i = threadIdx.x; i < int64_t(gridDim.x) * 2 * count; i += choiceThreads) {
        if (timestamp && i / count % 2 == 0) continue;
        const Ranked* from = scratch.lists + i;
        consider(Ranked{loadUncached(&from->logit), loadUncached(&from->token)});
      }
    });
  if (threadIdx.x == 0) {
    *scratch.logSum = choice.logSum();
    n.counters[b] = 0;
  }
  __syncthreads();
  return true;
}

/** How many top tokens are wanted of the sequence in this row. */
__device__ inline int64_t topOf(const NextTokenArguments& n, int64_t row) {
  return n.topCount ? min<int64_t>(max(n.topCount[row], 0), n.top) : n.top;
}

/** Writes the top tokens of the sequence in this row at the index of the new token. Called by the block. */
__device__ inline void writeTop(const NextTokenArguments& n, int64_t row, const ChoiceScratch& scratch, float logSum) {
  const int64_t index = n.length[row], wanted = topOf(n, row);
  if (wanted == 0 || index < 0 || index >= n.capacity) return;
  for (int64_t i = threadIdx.x; i < n.top; i += choiceThreads) {
    const Ranked one = i < wanted ? scratch.ranked[i] : Ranked{-infinity, -1};
    const int64_t to = (row * n.capacity + index) * n.top + i;
    n.topTokens[to] = one.token;
    n.topLogProbability[to] = one.token < 0 ? -infinity : one.logit - logSum;
  }
}

}  // namespace onehead::cuda
