// nextToken: the next token of each sequence under Whisper's rules, most probable or sampled, with its log-probability
// and those of the top tokens. tokenProbability: the probability of one token (no-speech).
//
// Shapes  logits [batch, vocabulary] float32
// Launch  nextToken: grid (blocks of 4,096 logits, batch), 256 threads; tokenProbability: one block of 256 threads per
//         sequence; shared memory: ChoiceShared, some 300 bytes
// Bytes   the logits once; the rest is small
// Method  each block summarizes its part of the vocabulary in registers, separately for text and timestamps. The last
//         block of a sequence combines the summaries, applies the rule that compares the two, and updates the state, so
//         nothing passes through the host. Ranking T tokens takes T rounds of a maximum over each block's part, then
//         over all blocks' lists.
//
// History
//   Measured on an H200 at commit 1dabc91 (51,866 tokens, microseconds at batch 1 / 8 / 32): 19.7 / 25.0 / 43.1 with 26
//   blocks of 256 threads per sequence; lower bounds 0.1 and 1.7 at 1 and 32. The code then loaded one logit after
//   another and the state by dependent loads, and running sums made every exponential wait for the previous one. In a
//   separate test program a maximum and a sum in 26 blocks of 1,024 threads took 3.7.
//   Measured at commit 8c906c2e, with all loads issued at once, maxima before sums, and 13 blocks of 256 threads per
//   sequence: in a step, without overlap, 4.2 / 4.9 / 5.6; in a chain of its own, whose logits come from memory, 13.8 /
//   16.2 / 22.6. Predicted had been 5 to 8.
//   Registers for 90a: 80 (64 before), no spills.
#include "vocabulary.h"

namespace onehead::cuda {

namespace {

__device__ void append(const NextTokenArguments& n, int64_t row, const RowState& state, const Summary& chosen,
                       float logSum) {
  const int index = state.length.value;
  if (index >= n.capacity) {
    n.finished[row] = 1;
    n.position[row] = index - 1;
    return;
  }
  const bool none = chosen.sampled < 0;
  const int token = none ? n.endToken : chosen.sampled;
  n.tokens[row * n.capacity + index] = token;
  n.logProbability[row * n.capacity + index] = none ? -infinity : chosen.sampledLogit - logSum;
  n.length[row] = index + 1;
  n.position[row] = index;
  const bool full = index + 1 - state.begin.value >= state.maximum.value || index + 1 >= n.capacity;
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
  if (n.finished[row]) {  // not changed before all blocks of the sequence have read it
    if (blockIdx.x == 0 && threadIdx.x == 0) n.position[row] = state.length.value - 1;
    return;
  }
  const ChoiceScratch scratch(n.scratch, b, gridDim.x, n.top);
  Summary choice;
  const int64_t count = topOf(n, row);
  if (!summarizeVocabulary(n, b, row, count, state, logits, scratch, *shared, choice)) return;
  const float logSum = choice.logSum();
  if (count) {
    writeTop(n, row, scratch, logSum);
    __syncthreads();  // the length must be read before it changes
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
  all = combineSummaries(all, false, *shared);
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
