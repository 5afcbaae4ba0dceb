// What choosing one token and choosing beams share: one pass over the vocabulary by many blocks, which applies the
// rules of operations/decoding/token_rules.h and summarises what is left; the block of a sequence that comes last joins
// the summaries. What depends on memory is asked for at once, logits first; sums are made about a maximum that is
// known, so that no exponential waits for another.
#pragma once

#include "cuda/kernels/numeric.h"
#include "operations/decoding/noise.h"
#include "operations/decoding/token_rules.h"

namespace onehead::cuda {

// 13 blocks for 51,866 tokens: at 32 sequences 416 blocks, about what 132 multiprocessors hold at once. Of half the
// logits they were 832 there; a program that did no more than a maximum and a sum took 3.7 us in 26 blocks of 1,024
// threads.
constexpr int choiceThreads = 256, choiceWarps = choiceThreads / 32;
constexpr int logitsOfThread = 16;
constexpr int64_t logitsOfBlock = choiceThreads * logitsOfThread;

/** The highest logit, the lowest token that has it, and the sum of e^(logit - highest); and the drawn token. None: -1.
 */
struct Summary {
  float highest = -infinity, sum = 0;
  int token = -1;
  float drawnScore = -infinity, drawnLogit = -infinity;  // logit / temperature + noise
  int drawn = -1;

  /** Of two without their sums; of equals the lower token. */
  __device__ void raise(float otherHighest, int otherToken) {
    if (otherToken < 0 || (token >= 0 && (highest > otherHighest || (highest == otherHighest && token < otherToken))))
      return;
    highest = otherHighest;
    token = otherToken;
  }
  __device__ void draw(float otherScore, float otherLogit, int otherDrawn) {
    if (otherDrawn < 0 || (drawn >= 0 && (drawnScore > otherScore || (drawnScore == otherScore && drawn < otherDrawn))))
      return;
    drawnScore = otherScore;
    drawnLogit = otherLogit;
    drawn = otherDrawn;
  }
  /** Where nothing is drawn it is the likeliest. */
  __device__ void drawLikeliest() {
    drawnScore = drawnLogit = highest;
    drawn = token;
  }
  /** What the sum counts about a maximum that is at least as high. */
  __device__ float sumAbout(float above) const { return token < 0 ? 0.0f : sum * expf(highest - above); }
  __device__ void include(const Summary& other) {
    const Summary mine = *this;
    raise(other.highest, other.token);
    sum = mine.sumAbout(highest) + other.sumAbout(highest);
    draw(other.drawnScore, other.drawnLogit, other.drawn);
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
  /** Offers a token to the summary, which is one of a thread. */
  __device__ void offer(Summary& summary, float logit, int token) const {
    summary.raise(logit, token);
    if (inverse == 0) return;
    // Two logarithms are spent only on those that the noise can lift.
    if (logit * inverse + mostNoise < summary.drawnScore) return;
    summary.draw(logit * inverse + gumbelNoise(key, token), logit, token);
  }
};

/** Over the warp; every lane has the result. */
__device__ inline Summary joinWarp(const Summary& mine, bool drawing) {
  Summary all = mine;
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    const float highest = __shfl_xor_sync(allLanes, all.highest, mask);
    all.raise(highest, __shfl_xor_sync(allLanes, all.token, mask));
  }
  all.sum = warpSum(mine.sumAbout(all.highest));
  if (!drawing) {
    all.drawLikeliest();
    return all;
  }
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    const float score = __shfl_xor_sync(allLanes, all.drawnScore, mask);
    const float logit = __shfl_xor_sync(allLanes, all.drawnLogit, mask);
    all.draw(score, logit, __shfl_xor_sync(allLanes, all.drawn, mask));
  }
  return all;
}

/** Over the block; every thread has the result. */
__device__ inline Summary joinSummaries(const Summary& mine, bool drawing, ChoiceShared& shared) {
  const Summary warp = joinWarp(mine, drawing);
  const int lane = int(threadIdx.x) % 32;
  __syncthreads();
  if (lane == 0) shared.summaries[threadIdx.x / 32] = warp;
  __syncthreads();
  return joinWarp(lane < choiceWarps ? shared.summaries[lane] : Summary(), drawing);
}

__device__ inline Ranked joinRanked(Ranked mine, ChoiceShared& shared) {
  auto join = [&] {
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) {
      const Ranked other{__shfl_xor_sync(allLanes, mine.logit, mask), __shfl_xor_sync(allLanes, mine.token, mask)};
      if (other.token >= 0 && (mine.token < 0 || other.before(mine))) mine = other;
    }
  };
  join();
  const int lane = int(threadIdx.x) % 32;
  __syncthreads();
  if (lane == 0) shared.ranked[threadIdx.x / 32] = mine;
  __syncthreads();
  mine = lane < choiceWarps ? shared.ranked[lane] : Ranked{-infinity, -1};
  join();
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
 * end). Called by the block; true where logits may have changed. */
__device__ inline bool discourage(const NextTokenArguments& n, int64_t b, int64_t row, int64_t begin, int64_t end) {
  const int64_t generated = int64_t(n.length[row]) - n.begin[row];
  const int32_t* tokens = n.tokens + row * n.capacity + n.begin[row];
  float* logits = n.logits + b * n.vocabulary;
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
  if (size <= 0 || generated + 1 < size) return penalty != 1;
  const int32_t* last = tokens + generated - (size - 1);
  for (int64_t i = threadIdx.x; i + size <= generated; i += choiceThreads) {
    bool same = true;
    for (int64_t j = 0; j < size - 1 && same; ++j) same = tokens[i + j] == last[j];
    if (same && mine(tokens[i + size - 1])) logits[tokens[i + size - 1]] = -infinity;
  }
  __syncthreads();
  return true;
}

/** A thread's part of an entry's logits. */
struct ThreadLogits {
  float values[logitsOfThread];

  __device__ static int tokenOf(int i) {
    return int(blockIdx.x * logitsOfBlock) + i * choiceThreads + int(threadIdx.x);
  }
  /** Begun before anything else of the entry is known. */
  __device__ ThreadLogits(const NextTokenArguments& n, int64_t b) {
#pragma unroll
    for (int i = 0; i < logitsOfThread; ++i)
      values[i] = tokenOf(i) < int(n.vocabulary) ? n.logits[b * n.vocabulary + tokenOf(i)] : -infinity;
  }
};

/** What a sequence's row of the state says, read at once; operations/decoding/token_rules.h takes it for the arguments.
 */
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
 * A block's part of entry b, whose sequence is on this row, `count` tokens ranked. True in the block that comes last:
 * there `choice` is what may come, text forbidden where timestamps are likelier, and the scratch memory holds the
 * ranked tokens and logSum.
 */
__device__ inline bool summariseVocabulary(const NextTokenArguments& n, int64_t b, int64_t row, int64_t count,
                                           const RowState& state, ThreadLogits logits, const ChoiceScratch& scratch,
                                           ChoiceShared& shared, Summary& choice) {
  const int begin = int(blockIdx.x * logitsOfBlock), end = smaller(int(n.vocabulary), begin + int(logitsOfBlock));
  const uint8_t* suppressed = n.suppressed + row * n.suppressedStride;
  uint32_t marks = 0;  // the two bits of each of the thread's tokens
#pragma unroll
  for (int i = 0; i < logitsOfThread; ++i)
    if (ThreadLogits::tokenOf(i) < end) marks |= uint32_t(suppressed[ThreadLogits::tokenOf(i)] & 3) << (2 * i);
  const Draw draw(n, row);
  const bool drawing = draw.inverse != 0;
  const ForbiddenTokens forbidden = forbiddenTokens(state, row);
  if (discourage(n, b, row, begin, end)) logits = ThreadLogits(n, b);
  uint32_t barred = 0;  // a bit of each of the thread's tokens
  for (int range = 0; range < forbidden.count; ++range) {
    const int from = int(forbidden.ranges[range].begin), to = int(forbidden.ranges[range].end);
#pragma unroll
    for (int i = 0; i < logitsOfThread; ++i)
      barred |= uint32_t(ThreadLogits::tokenOf(i) >= from && ThreadLogits::tokenOf(i) < to) << i;
  }
#pragma unroll
  for (int i = 0; i < logitsOfThread; ++i) {
    const bool allowed = (marks >> (2 * i) & forbidden.suppressedBits) == 0 && (barred >> i & 1) == 0;
    if (!allowed || !(logits.values[i] > -infinity)) logits.values[i] = -infinity;  // NaN is not chosen either
  }
  auto summarise = [&](bool ofTimestamps) {
    Summary mine;
    auto counts = [&](int i) {
      return logits.values[i] > -infinity && isTimestamp(n, ThreadLogits::tokenOf(i)) == ofTimestamps;
    };
#pragma unroll
    for (int i = 0; i < logitsOfThread; ++i)
      if (counts(i)) draw.offer(mine, logits.values[i], ThreadLogits::tokenOf(i));
#pragma unroll
    for (int i = 0; i < logitsOfThread; ++i)
      if (counts(i)) mine.sum += expf(logits.values[i] - mine.highest);
    return joinSummaries(mine, drawing, shared);
  };
  // Most blocks hold one kind only.
  Summary text, timestamps;
  if (begin < n.timestampBegin || end > n.timestampEnd) text = summarise(false);
  if (begin < n.timestampEnd && end > n.timestampBegin) timestamps = summarise(true);
  for (int kind = 0; kind < 2 && count > 0; ++kind)
    rankInto(scratch.lists + (int64_t(blockIdx.x) * 2 + kind) * count, count, shared, [&](auto consider) {
#pragma unroll
      for (int i = 0; i < logitsOfThread; ++i) {
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
    loaded.highest = loadFresh(&from->highest);
    loaded.sum = loadFresh(&from->sum);
    loaded.token = loadFresh(&from->token);
    loaded.drawnScore = loadFresh(&from->drawnScore);
    loaded.drawnLogit = loadFresh(&from->drawnLogit);
    loaded.drawn = loadFresh(&from->drawn);
    return loaded;
  };
  // Every warp finds the result for itself.
  text = timestamps = Summary();
  for (int i = int(threadIdx.x) % 32; i < int(gridDim.x); i += 32) {
    const Summary first = part(i * 2), second = part(i * 2 + 1);
    text.include(first);
    timestamps.include(second);
  }
  text = joinWarp(text, drawing);
  timestamps = joinWarp(timestamps, drawing);
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
  return n.topCount ? smaller<int64_t>(larger(n.topCount[row], 0), n.top) : n.top;
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
