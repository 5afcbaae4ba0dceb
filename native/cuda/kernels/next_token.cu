// The greedy choice of the next token under Whisper's rules (core/token_rules.h), with its log-probability; and one
// token's probability (no-speech).
//
// Shapes  logits [batch, vocabulary] float32
// Bytes   the logits, once
// Method  blocks of a sequence summarise a share of its vocabulary each: highest logit, its lowest token, and the sum
// of
//         exponentials, for text and for timestamps apart. The block that comes last combines them, applies the rule
//         that compares the two, and moves the sequence on: no value of a step passes through the host.
#include "../../core/token_rules.h"
#include "numeric.h"

namespace onehead::cuda {

namespace {

constexpr int threads = 256, warps = threads / 32;
constexpr int64_t share = 2048;  // logits of a block

/** The highest logit, the lowest token that has it, and the sum of e^(logit - highest). No token: -1. */
struct Summary {
  float highest = -infinity, sum = 0;
  int token = -1;

  __device__ void include(float otherHighest, float otherSum, int otherToken) {
    if (otherToken < 0) return;
    if (token < 0 || otherHighest > highest || (otherHighest == highest && otherToken < token)) {
      sum = otherSum + (token < 0 ? 0.0f : sum * expf(highest - otherHighest));
      highest = otherHighest;
      token = otherToken;
    } else {
      sum += otherSum * expf(otherHighest - highest);
    }
  }
  __device__ void include(const Summary& other) { include(other.highest, other.sum, other.token); }
  __device__ float logSum() const { return token < 0 ? -infinity : highest + logf(sum); }
};

/** Over the block; thread 0 has the result. `scratch` holds a summary a warp. */
__device__ Summary combine(Summary mine, Summary* scratch) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    const float highest = __shfl_xor_sync(wholeWarp, mine.highest, mask),
                sum = __shfl_xor_sync(wholeWarp, mine.sum, mask);
    mine.include(highest, sum, __shfl_xor_sync(wholeWarp, mine.token, mask));
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = mine;
  __syncthreads();
  for (int w = 1; w < warps && threadIdx.x == 0; ++w) mine.include(scratch[w]);
  return mine;
}

__device__ Summary loadSummary(const Summary* from) {
  Summary summary;
  summary.highest = loadShared(&from->highest);
  summary.sum = loadShared(&from->sum);
  summary.token = loadShared(&from->token);
  return summary;
}

__device__ void append(const NextTokenArguments& n, int64_t b, const Summary& chosen) {
  const int place = n.length[b];
  if (place >= n.capacity) {
    n.finished[b] = 1;
  } else {
    const bool none = chosen.token < 0;
    const int token = none ? n.endToken : chosen.token;
    n.tokens[b * n.capacity + place] = token;
    n.logProbability[b * n.capacity + place] = none ? -infinity : chosen.highest - chosen.logSum();
    n.length[b] = place + 1;
    const bool full = place + 1 - n.begin[b] >= n.maximum[b] || place + 1 >= n.capacity;
    if (token == n.endToken || full) n.finished[b] = 1;
  }
}

__global__ void __launch_bounds__(threads) nextTokenKernel(const __grid_constant__ NextTokenArguments n) {
  ONEHEAD_SHARED(Summary, scratch);  // [warps], then a flag
  letNextStart();
  waitForPrevious();
  const int64_t b = blockIdx.y;
  Summary* parts = static_cast<Summary*>(n.scratch) + b * gridDim.x * 2;
  Summary text, timestamps;
  if (!n.finished[b]) {
    const ForbiddenTokens forbidden = forbiddenTokens(n, b);
    const int64_t begin = blockIdx.x * share, end = least<int64_t>(n.vocabulary, begin + share);
    for (int64_t token = begin + threadIdx.x; token < end; token += threads) {
      const float logit = n.logits[b * n.vocabulary + token];
      bool allowed = (n.suppressed[token] & forbidden.suppressedBits) == 0 && logit > -infinity;  // NaN neither
      for (int i = 0; i < forbidden.count; ++i)
        allowed &= token < forbidden.ranges[i].begin || token >= forbidden.ranges[i].end;
      if (allowed) (token < n.timestampBegin ? text : timestamps).include(logit, 1, int(token));
    }
  }
  text = combine(text, scratch);
  timestamps = combine(timestamps, scratch);
  int* last = reinterpret_cast<int*>(scratch + warps);
  if (threadIdx.x == 0) {
    parts[blockIdx.x * 2] = text;
    parts[blockIdx.x * 2 + 1] = timestamps;
    __threadfence();
    *last = atomicAdd(n.counters + b, 1) == int(gridDim.x) - 1;
  }
  __syncthreads();
  if (!*last) return;
  __threadfence();
  text = timestamps = Summary();
  for (int i = int(threadIdx.x); i < int(gridDim.x); i += threads) {
    text.include(loadSummary(parts + i * 2));
    timestamps.include(loadSummary(parts + i * 2 + 1));
  }
  text = combine(text, scratch);
  timestamps = combine(timestamps, scratch);
  if (threadIdx.x != 0) return;
  n.counters[b] = 0;
  if (!n.finished[b]) {
    const bool timestamp = n.timestamps[b] && timestamps.logSum() > text.highest;
    if (!timestamp) text.include(timestamps);  // of equals the text, whose tokens are lower, stays
    append(n, b, timestamp ? timestamps : text);
  }
  n.position[b] = n.length[b] - 1;
}

__global__ void __launch_bounds__(threads) tokenProbabilityKernel(const __grid_constant__ TokenProbabilityArguments p) {
  ONEHEAD_SHARED(Summary, scratch);
  letNextStart();
  waitForPrevious();
  const float* logits = p.logits + int64_t(blockIdx.x) * p.vocabulary;
  Summary all;
  for (int64_t token = threadIdx.x; token < p.vocabulary; token += threads)
    if (logits[token] > -infinity) all.include(logits[token], 1, int(token));
  all = combine(all, scratch);
  if (threadIdx.x == 0) p.probability[blockIdx.x] = expf(logits[p.token] - all.highest) / all.sum;
}

}  // namespace

size_t nextTokenScratch(int64_t batch, int64_t vocabulary) {
  return size_t(batch * divideUp(vocabulary, share) * 2) * sizeof(Summary);
}

cudaError_t nextToken(const NextTokenArguments& n, const Launcher& launcher) {
  const dim3 grid(unsigned(divideUp(n.vocabulary, share)), unsigned(n.batch));
  return launch(launcher, nextTokenKernel, grid, dim3(threads), sizeof(Summary) * warps + sizeof(int), n);
}

cudaError_t tokenProbability(const TokenProbabilityArguments& p, const Launcher& launcher) {
  return launch(launcher, tokenProbabilityKernel, dim3(unsigned(p.batch)), dim3(threads), sizeof(Summary) * warps, p);
}

}  // namespace onehead::cuda
