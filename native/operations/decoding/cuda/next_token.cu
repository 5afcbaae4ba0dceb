// The next token of each sequence under Whisper's rules, the likeliest or one drawn, with its log-probability and those
// of the likeliest others; and one token's probability (no-speech).
//
// Shapes  logits [batch, vocabulary] float32
// Bytes   the logits, once; the rest is small
// Method  blocks of a sequence summarise a share of its vocabulary each, for text and for timestamps apart, in
//         registers. The block that comes last joins them, applies the rule that compares the two, and moves the
//         sequence on: no value of a step passes through the host. The T likeliest are T rounds of a maximum over each
//         block's share, then over all blocks' lists.
//
// History
//   H200, commit 1dabc91, 51,866 tokens, microseconds at batch 1 / 8 / 32: 19.7 / 25.0 / 43.1, floors 0.1 and 1.7 at 1
//   and 32; 26 blocks of 256 threads a sequence. As the code read, a logit was asked for when the one before had come,
//   the state's row link by link, and running sums made every exponential wait for another. A program that did nothing
//   but a maximum and a sum, in 26 blocks of 1,024 threads, took 3.7.
//   Now all is asked for at once, maxima come before sums, and a sequence has 13 blocks of 256.
//   Prediction, not measured: launch 0.5, logits and state 1.5, the join of a block 0.8, meeting 1, the join of all and
//   the state's step 1.5: about 5 at batch 1 and 8, about 8 at 32.
//   Registers on 90a: 80 (64 before), no spills.
#include "vocabulary.h"

namespace onehead::cuda {

namespace {

__device__ void append(const NextTokenArguments& n, int64_t row, const RowState& state, const Summary& chosen,
                       float logSum) {
  const int place = state.length.value;
  if (place >= n.capacity) {
    n.finished[row] = 1;
    n.position[row] = place - 1;
    return;
  }
  const bool none = chosen.drawn < 0;
  const int token = none ? n.endToken : chosen.drawn;
  n.tokens[row * n.capacity + place] = token;
  n.logProbability[row * n.capacity + place] = none ? -infinity : chosen.drawnLogit - logSum;
  n.length[row] = place + 1;
  n.position[row] = place;
  const bool full = place + 1 - state.begin.value >= state.maximum.value || place + 1 >= n.capacity;
  if (token == n.endToken || full) n.finished[row] = 1;
}

__global__ void __launch_bounds__(choiceThreads, 3) nextTokenKernel(const __grid_constant__ NextTokenArguments n) {
  ONEHEAD_SHARED(ChoiceShared, shared);
  letNextKernelStart();
  waitForPreviousKernel();
  const int64_t b = blockIdx.y;
  const ThreadLogits logits(n, b);
  const int64_t row = n.beams && n.beams[b] != 0 ? -1 : stateRow(n, b);
  if (row < 0) return;
  const RowState state(n, row);
  if (n.finished[row]) {  // nobody changes it before all blocks of the sequence have come
    if (blockIdx.x == 0 && threadIdx.x == 0) n.position[row] = state.length.value - 1;
    return;
  }
  const ChoiceScratch scratch(n.scratch, b, gridDim.x, n.top);
  Summary choice;
  const int64_t count = topOf(n, row);
  if (!summariseVocabulary(n, b, row, count, state, logits, scratch, *shared, choice)) return;
  const float logSum = choice.logSum();
  if (count) {
    writeTop(n, row, scratch, logSum);
    __syncthreads();  // before the length moves on
  }
  if (threadIdx.x == 0) append(n, row, state, choice, logSum);
}

__global__ void __launch_bounds__(choiceThreads)
    tokenProbabilityKernel(const __grid_constant__ TokenProbabilityArguments p) {
  ONEHEAD_SHARED(ChoiceShared, shared);
  letNextKernelStart();
  waitForPreviousKernel();
  const float* logits = p.logits + int64_t(blockIdx.x) * p.vocabulary;
  Summary all;
  for (int64_t token = threadIdx.x; token < p.vocabulary; token += choiceThreads)
    if (logits[token] > -infinity) all.raise(logits[token], int(token));
  for (int64_t token = threadIdx.x; token < p.vocabulary; token += choiceThreads)
    if (logits[token] > -infinity) all.sum += expf(logits[token] - all.highest);
  all = joinSummaries(all, false, *shared);
  if (threadIdx.x == 0) p.probability[blockIdx.x] = expf(logits[p.token] - all.highest) / all.sum;
}

}  // namespace

Needs nextTokenNeeds(const NextTokenArguments& n) {
  return {size_t(n.batch) * ChoiceScratch::bytes(choiceBlocks(n.vocabulary), n.top), size_t(n.batch)};
}

cudaError_t nextToken(const NextTokenArguments& n, const Launcher& launcher) {
  const dim3 grid(unsigned(choiceBlocks(n.vocabulary)), unsigned(n.batch));
  return launch(launcher, nextTokenKernel, grid, dim3(choiceThreads), sizeof(ChoiceShared), n);
}

cudaError_t tokenProbability(const TokenProbabilityArguments& p, const Launcher& launcher) {
  return launch(launcher, tokenProbabilityKernel, dim3(unsigned(p.batch)), dim3(choiceThreads), sizeof(ChoiceShared),
                p);
}

}  // namespace onehead::cuda
