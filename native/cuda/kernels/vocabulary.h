// What choosing one token and choosing beams share: one pass over the vocabulary by many blocks, which applies the
// rules of core/token_rules.h and summarises what is left; the block of a sequence that comes last joins the summaries.
#pragma once

#include "../../core/noise.h"
#include "../../core/token_rules.h"
#include "numeric.h"

namespace onehead::cuda {

constexpr int choiceThreads = 256, choiceWarps = choiceThreads / 32;
constexpr int logitsOfThread = 8;
constexpr int64_t logitsOfBlock = choiceThreads * logitsOfThread;

/** The highest logit, the lowest token that has it, and the sum of e^(logit - highest); and the drawn token. None: -1.
 */
struct Summary {
  float highest = -infinity, sum = 0;
  int token = -1;
  float drawnScore = -infinity, drawnLogit = -infinity;  // logit / temperature + noise
  int drawn = -1;

  __device__ void include(const Summary& other) {
    if (other.token < 0) return;
    if (token < 0 || other.highest > highest || (other.highest == highest && other.token < token)) {
      sum = other.sum + (token < 0 ? 0.0f : sum * expf(highest - other.highest));
      highest = other.highest;
      token = other.token;
    } else {
      sum += other.sum * expf(other.highest - highest);
    }
    if (drawn < 0 || other.drawnScore > drawnScore || (other.drawnScore == drawnScore && other.drawn < drawn)) {
      drawnScore = other.drawnScore;
      drawnLogit = other.drawnLogit;
      drawn = other.drawn;
    }
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

/** Shared memory of a block. */
struct ChoiceShared {
  Summary summaries[choiceWarps];
  Ranked ranked[choiceWarps];
  int last, timestamp;
};

/** One entry's part of the scratch memory. */
struct ChoiceScratch {
  Summary* parts;  // [blocks][2]: of text and of timestamps
  Ranked* lists;   // [blocks][2][count]
  Ranked* ranked;  // [count]: the likeliest of all, token -1 behind the last
  float* logSum;

  __host__ __device__ static size_t bytes(int64_t blocks, int64_t count) {
    const size_t whole =
        size_t(blocks) * 2 * sizeof(Summary) + size_t(blocks * 2 + 1) * size_t(count) * sizeof(Ranked) + 16;
    return (whole + 15) / 16 * 16;
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
  return (vocabulary + logitsOfBlock - 1) / logitsOfBlock;
}

/** A sequence's way of drawing; inverse 0: the likeliest token. */
struct Draw {
  float inverse = 0;
  uint32_t key = 0;

  __device__ Draw(const NextTokenArguments& n, int64_t row) {
    if (!n.temperature || !(n.temperature[row] > 0)) return;
    inverse = 1 / n.temperature[row];
    key = noiseKey(n.seed[row], int64_t(n.length[row]) - n.begin[row]);
  }
  __device__ void include(Summary& summary, float logit, int token) const {
    Summary one;
    one.highest = one.drawnScore = one.drawnLogit = logit;
    one.sum = 1;
    one.token = one.drawn = token;
    if (inverse != 0) {
      // Two logarithms are spent only on those that the noise can lift.
      one.drawnScore = logit * inverse + kMostNoise;
      if (!(one.drawnScore < summary.drawnScore))
        one.drawnScore = logit * inverse + gumbelNoise(key, token);
      else
        one.drawnScore = -infinity;
    }
    summary.include(one);
  }
};

/** Over the block; every thread has the result. */
__device__ inline Summary joinSummaries(Summary mine, ChoiceShared& shared) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    Summary other;
    other.highest = __shfl_xor_sync(wholeWarp, mine.highest, mask);
    other.sum = __shfl_xor_sync(wholeWarp, mine.sum, mask);
    other.token = __shfl_xor_sync(wholeWarp, mine.token, mask);
    other.drawnScore = __shfl_xor_sync(wholeWarp, mine.drawnScore, mask);
    other.drawnLogit = __shfl_xor_sync(wholeWarp, mine.drawnLogit, mask);
    other.drawn = __shfl_xor_sync(wholeWarp, mine.drawn, mask);
    mine.include(other);
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared.summaries[threadIdx.x / 32] = mine;
  __syncthreads();
  Summary all;
  for (int w = 0; w < choiceWarps; ++w) all.include(shared.summaries[w]);
  return all;
}

__device__ inline Ranked joinRanked(Ranked mine, ChoiceShared& shared) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    const Ranked other{__shfl_xor_sync(wholeWarp, mine.logit, mask), __shfl_xor_sync(wholeWarp, mine.token, mask)};
    if (other.token >= 0 && (mine.token < 0 || other.before(mine))) mine = other;
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared.ranked[threadIdx.x / 32] = mine;
  __syncthreads();
  for (int w = 0; w < choiceWarps; ++w) {
    const Ranked other = shared.ranked[w];
    if (other.token >= 0 && (mine.token < 0 || other.before(mine))) mine = other;
  }
  return mine;
}

/** Ranks what `visit(consider)` offers: the `count` likeliest to `list`, token -1 behind the last. Called by the block.
 */
template <class Visit>
__device__ inline void rankInto(Ranked* list, int64_t count, ChoiceShared& shared, Visit visit) {
  Ranked last{infinity, -1};
  for (int64_t i = 0; i < count; ++i) {
    Ranked best{-infinity, -1};
    visit([&](const Ranked& one) {
      if (one.token >= 0 && one.logit > -infinity && last.before(one) && (best.token < 0 || one.before(best)))
        best = one;
    });
    best = joinRanked(best, shared);
    if (threadIdx.x == 0) list[i] = best;
    if (best.token < 0) {
      for (int64_t rest = i + 1 + threadIdx.x; rest < count; rest += choiceThreads) list[rest] = best;
      break;
    }
    last = best;
  }
}

/** Repetition penalty and forbidden n-grams of entry b, whose sequence is on this row, among the block's logits [begin,
 * end). Called by the block. */
__device__ inline void discourage(const NextTokenArguments& n, int64_t b, int64_t row, int64_t begin, int64_t end) {
  const int64_t generated = int64_t(n.length[row]) - n.begin[row];
  const int32_t* tokens = n.tokens + row * n.capacity + n.begin[row];
  float* logits = const_cast<float*>(n.logits) + b * n.vocabulary;
  auto mine = [&](int64_t token) { return token >= begin && token < end && !isTimestamp(n, token); };
  const float penalty = n.repetitionPenalty ? n.repetitionPenalty[row] : 1;
  if (penalty != 1) {
    for (int64_t i = threadIdx.x; i < generated; i += choiceThreads) {
      if (!mine(tokens[i])) continue;
      bool first = true;
      for (int64_t j = 0; j < i && first; ++j) first = tokens[j] != tokens[i];
      float& logit = logits[tokens[i]];
      if (first) logit = logit > 0 ? logit / penalty : logit * penalty;
    }
    __syncthreads();
  }
  const int64_t size = n.noRepeat ? n.noRepeat[row] : 0;
  if (size <= 0 || generated + 1 < size) return;
  const int32_t* last = tokens + generated - (size - 1);
  for (int64_t i = threadIdx.x; i + size <= generated; i += choiceThreads) {
    bool same = true;
    for (int64_t j = 0; j < size - 1 && same; ++j) same = tokens[i + j] == last[j];
    if (same && mine(tokens[i + size - 1])) logits[tokens[i + size - 1]] = -infinity;
  }
  __syncthreads();
}

/**
 * A block's part of entry b, whose sequence is on this row, `count` tokens ranked. True in the block that comes last:
 * there `choice` is what may come, text forbidden where timestamps are likelier, and the scratch memory holds the
 * ranked tokens and logSum.
 */
__device__ inline bool summariseVocabulary(const NextTokenArguments& n, int64_t b, int64_t row, int64_t count,
                                           const ChoiceScratch& scratch, ChoiceShared& shared, Summary& choice) {
  const int64_t begin = blockIdx.x * logitsOfBlock, end = least<int64_t>(n.vocabulary, begin + logitsOfBlock);
  discourage(n, b, row, begin, end);
  const ForbiddenTokens forbidden = forbiddenTokens(n, row);
  const Draw draw(n, row);
  const uint8_t* suppressed = n.suppressed + row * n.suppressedStride;
  float logits[logitsOfThread];
  Summary text, timestamps;
#pragma unroll
  for (int i = 0; i < logitsOfThread; ++i) {
    const int64_t token = begin + i * choiceThreads + threadIdx.x;
    logits[i] = -infinity;
    if (token >= end) continue;
    const float logit = n.logits[b * n.vocabulary + token];
    bool allowed = (suppressed[token] & forbidden.suppressedBits) == 0 && logit > -infinity;  // NaN neither
    for (int range = 0; range < forbidden.count; ++range)
      allowed &= token < forbidden.ranges[range].begin || token >= forbidden.ranges[range].end;
    if (!allowed) continue;
    logits[i] = logit;
    draw.include(isTimestamp(n, token) ? timestamps : text, logit, int(token));
  }
  text = joinSummaries(text, shared);
  timestamps = joinSummaries(timestamps, shared);
  for (int kind = 0; kind < 2 && count > 0; ++kind)
    rankInto(scratch.lists + (int64_t(blockIdx.x) * 2 + kind) * count, count, shared, [&](auto consider) {
#pragma unroll
      for (int i = 0; i < logitsOfThread; ++i) {
        const int64_t token = begin + i * choiceThreads + threadIdx.x;
        if (isTimestamp(n, token) == (kind == 1)) consider(Ranked{logits[i], int(token)});
      }
    });

  if (threadIdx.x == 0) {
    scratch.parts[blockIdx.x * 2] = text;
    scratch.parts[blockIdx.x * 2 + 1] = timestamps;
  }
  if (!arrivesLast(n.counters + b, int(gridDim.x), &shared.last)) return false;

  auto part = [&](int64_t i) {
    const Summary* from = scratch.parts + i;
    Summary loaded;
    loaded.highest = loadFresh(&from->highest);
    loaded.sum = loadFresh(&from->sum);
    loaded.token = loadFresh(&from->token);
    loaded.drawnScore = loadFresh(&from->drawnScore);
    loaded.drawnLogit = loadFresh(&from->drawnLogit);
    loaded.drawn = loadFresh(&from->drawn);
    return loaded;
  };
  text = timestamps = Summary();
  for (int i = int(threadIdx.x); i < int(gridDim.x); i += choiceThreads) {
    text.include(part(i * 2));
    timestamps.include(part(i * 2 + 1));
  }
  text = joinSummaries(text, shared);
  timestamps = joinSummaries(timestamps, shared);
  const bool timestamp = n.timestamps[row] && timestamps.logSum() > text.highest;
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
        consider(Ranked{loadFresh(&from->logit), loadFresh(&from->token)});
      }
    });
  if (threadIdx.x == 0) {
    *scratch.logSum = choice.logSum();
    n.counters[b] = 0;
  }
  __syncthreads();
  return true;
}

/** How many of the likeliest tokens are wanted of the sequence on this row. */
__device__ inline int64_t topOf(const NextTokenArguments& n, int64_t row) {
  return n.topCount ? least<int64_t>(most(n.topCount[row], 0), n.top) : n.top;
}

/** The likeliest tokens of the sequence on this row to their place; of those behind the ones wanted there are none.
 * Called by the block. */
__device__ inline void writeTop(const NextTokenArguments& n, int64_t row, const ChoiceScratch& scratch, float logSum) {
  const int64_t place = n.length[row], wanted = topOf(n, row);
  if (wanted == 0 || place < 0 || place >= n.capacity) return;
  for (int64_t i = threadIdx.x; i < n.top; i += choiceThreads) {
    const Ranked one = i < wanted ? scratch.ranked[i] : Ranked{-infinity, -1};
    const int64_t to = (row * n.capacity + place) * n.top + i;
    n.topTokens[to] = one.token;
    n.topLogProbability[to] = one.token < 0 ? -infinity : one.logit - logSum;
  }
}

}  // namespace onehead::cuda
