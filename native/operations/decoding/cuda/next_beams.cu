// One step of beam search, as openai/whisper's BeamSearchDecoder: applies the rules to every beam, ranks its most
// probable continuations, and selects the best of each window. The KV caches are not moved: beams have a block table.
//
// Shapes  logits [windows x beams, vocabulary] float32
// Launch  rankBeamsKernel as nextTokenKernel in next_token.cu; then advanceBeamsKernel with one block of 256 threads
//         per window (or entry); shared memory: BeamsShared, 9 KB
// Bytes   the logits once; each beam's history (tokens, block table, log-probabilities) twice, a few kilobytes
// Method  the first kernel is nextTokenKernel without its end: it ranks beams + 1 tokens of each beam. The second sorts
//         the candidates by counting better ones, one thread decides which finish and which continue, and the block
//         copies the parents' histories to the children, through a copy, since children overwrite parents.
//
// History
//   Passed its tests on an H200 (commit 1dabc91); its time was never measured. See next_token.cu for its first kernel.
#include "vocabulary.h"

namespace onehead::cuda {

namespace {

constexpr int maxCandidates = maxBeams * (maxBeams + 1);

/** The most tokens that are ranked per beam. */
__host__ __device__ int64_t rankCount(const NextBeamsArguments& a) {
  return max<int64_t>((a.step.beams ? int64_t(maxBeams) : a.beams) + 1, a.step.top);
}

/** The beams of one window: consecutive entries and rows. */
struct Window {
  int entry, row, beams;  // entry and row of the first beam, and the number of beams; 0: there is no window
  int state;              // index into wanted and doneCount
  int done, room;         // index of its first finished candidate, and how many fit
};

/** The window that contains entry b. */
__device__ Window windowOf(const NextBeamsArguments& a, int b) {
  const NextTokenArguments& s = a.step;
  const int capacity = int(a.doneCapacity);
  if (!s.beams) {
    const int w = b / int(a.beams), first = w * int(a.beams);
    return {first, first, int(a.beams), w, w * capacity, capacity};
  }
  for (int first = b; first >= 0 && b - first < maxBeams && s.beams[first] != 0; --first) {
    const int beams = s.beams[first];
    if (beams < 0) continue;
    const int row = int(stateRow(s, first));
    const bool fits = beams <= maxBeams && first + beams <= s.batch && row >= 0 && row + beams <= s.pool;
    if (!fits || b >= first + beams) break;
    return {first, row, beams, row, row * capacity, beams * capacity};
  }
  return {b, -1, 0, 0, 0, 0};
}

/** Whether a beam's logits are not needed: its window has ended, or it is not in use. */
__device__ bool skipped(const NextBeamsArguments& a, int64_t row) {
  return a.step.finished[row] || a.cumulative[row] == -infinity;
}

__global__ void __launch_bounds__(choiceThreads, 2) rankBeamsKernel(const __grid_constant__ NextBeamsArguments a) {
  ONEHEAD_SHARED(ChoiceShared, shared);
  letNextKernelStart();
  waitForPreviousKernel();
  const int b = int(blockIdx.y);
  const ThreadLogits logits(a.step, b);
  const Window window = windowOf(a, b);
  if (window.beams == 0) return;
  const int row = window.row + b - window.entry;
  if (skipped(a, row)) return;
  const RowState state(a.step, row);
  const ChoiceScratch scratch(a.step.scratch, b, gridDim.x, rankCount(a));
  Summary choice;
  if (summarizeVocabulary(a.step, b, row, max<int64_t>(window.beams + 1, topOf(a.step, row)), state, logits, scratch,
                          *shared, choice))
    writeTop(a.step, row, scratch, choice.logSum());
}

struct Candidate {
  float score, logProbability;
  int beam, token;
};

/** A row to write: a parent's history plus one token. */
struct Continuation {
  Candidate candidate;
  int64_t row;
};

struct BeamsShared {
  Candidate all[maxCandidates], sorted[maxCandidates];
  Continuation children[maxBeams], done[maxBeams];
  int count, next, doneCount;
};

/** Sorts the window's candidates: best first, of equals the lower beam, then the lower token. Called by the block. */
__device__ void sortCandidates(const NextBeamsArguments& a, const Window& window, BeamsShared& shared) {
  const int perBeam = int(window.beams) + 1, total = int(window.beams) * perBeam;
  for (int i = int(threadIdx.x); i < total; i += choiceThreads) {
    const int64_t row = window.row + i / perBeam;
    Candidate candidate{-infinity, -infinity, i / perBeam, -1};
    if (!skipped(a, row)) {
      const int64_t blocks = choiceBlocks(a.step.vocabulary);
      const ChoiceScratch scratch(a.step.scratch, window.entry + i / perBeam, blocks, rankCount(a));
      const Ranked one = scratch.ranked[i % perBeam];
      candidate.token = one.token;
      candidate.logProbability = one.logit - *scratch.logSum;
      candidate.score = a.cumulative[row] + candidate.logProbability;
    }
    shared.all[i] = candidate;
  }
  if (threadIdx.x == 0) shared.count = 0;
  __syncthreads();
  for (int i = int(threadIdx.x); i < total; i += choiceThreads) {
    const Candidate candidate = shared.all[i];
    if (candidate.token < 0) continue;
    int rank = 0;
    for (int j = 0; j < total; ++j) {
      const Candidate& other = shared.all[j];
      rank += other.token >= 0 && (other.score > candidate.score || (other.score == candidate.score && j < i));
    }
    shared.sorted[rank] = candidate;
    atomicAdd(&shared.count, 1);
  }
  __syncthreads();
}

/** Decides which candidates finish and which continue. Called by one thread; returns the number that continue. */
__device__ int decide(const NextBeamsArguments& a, const Window& window, int64_t length, BeamsShared& shared) {
  int next = 0, finishing = 0;
  const int count = length < a.step.capacity ? shared.count : 0;
  for (int i = 0; i < count && next < window.beams; ++i) {
    const Candidate& candidate = shared.sorted[i];
    if (candidate.token != a.step.endToken) {
      shared.children[next] = {candidate, window.row + next};
      ++next;
    } else if (const int64_t slot = a.doneCount[window.state] + finishing;
               slot < min<int64_t>(a.wanted[window.state], window.room)) {
      shared.done[finishing++] = {candidate, window.done + slot};
    }
  }
  // A beam without a continuation keeps the length of the others, but is no longer in use.
  for (int k = next; k < window.beams; ++k)
    shared.children[k] = {{-infinity, -infinity, k, a.step.endToken}, window.row + k};
  shared.doneCount = finishing;
  return next;
}

/** Histories of beams, [sequences, capacity]. */
struct Histories {
  int32_t *tokens, *source;
  float* logProbability;
};

/** `old` is indexed by entry, `to` by row. */
__device__ void write(const Histories& to, const Histories& old, const Continuation& one, const Window& window,
                      int64_t capacity, int64_t length) {
  const int64_t parent = one.candidate.beam;
  for (int64_t i = threadIdx.x; i <= length; i += choiceThreads) {
    const int64_t at = one.row * capacity + i, from = (window.entry + parent) * capacity + i;
    const bool isNew = i == length;
    to.tokens[at] = isNew ? one.candidate.token : old.tokens[from];
    to.source[at] = isNew ? int32_t(window.row + parent) : old.source[from];
    to.logProbability[at] = isNew ? one.candidate.logProbability : old.logProbability[from];
  }
}

__global__ void __launch_bounds__(choiceThreads, 1) advanceBeamsKernel(const __grid_constant__ NextBeamsArguments a) {
  ONEHEAD_SHARED(BeamsShared, shared);
  letNextKernelStart();
  waitForPreviousKernel();
  const NextTokenArguments& s = a.step;
  const int b = int(blockIdx.x) * (s.beams ? 1 : int(a.beams));
  const Window window = windowOf(a, b);
  if (window.beams == 0 || window.entry != b) return;
  const int64_t first = window.row, capacity = s.capacity, length = s.length[first];
  if (s.finished[first]) return;
  sortCandidates(a, window, *shared);

  auto* copied = static_cast<unsigned char*>(s.scratch) +
                 size_t(s.batch) * ChoiceScratch::bytes(choiceBlocks(s.vocabulary), rankCount(a));
  const size_t table = size_t(s.batch * capacity) * 4;
  const Histories old{reinterpret_cast<int32_t*>(copied), reinterpret_cast<int32_t*>(copied + table),
                      reinterpret_cast<float*>(copied + 2 * table)};
  for (int64_t i = threadIdx.x; i < window.beams * min<int64_t>(length, capacity); i += choiceThreads) {
    const int64_t beam = i / length, index = i % length, row = first + beam;
    const int64_t to = (window.entry + beam) * capacity + index, from = row * capacity + index;
    old.tokens[to] = s.tokens[from];
    old.source[to] = index == length - 1 ? int32_t(row) : a.source[from];  // the position just read is in its own row
    old.logProbability[to] = s.logProbability[from];
  }
  if (threadIdx.x == 0) shared->next = decide(a, window, length, *shared);
  __syncthreads();

  if (length < capacity) {
    const Histories beams{s.tokens, a.source, s.logProbability}, done{a.doneTokens, a.doneSource, a.doneLogProbability};
    for (int k = 0; k < window.beams; ++k) write(beams, old, shared->children[k], window, capacity, length);
    for (int i = 0; i < shared->doneCount; ++i) write(done, old, shared->done[i], window, capacity, length);
  }
  if (threadIdx.x != 0) return;
  for (int i = 0; i < shared->doneCount; ++i) {
    a.doneLength[shared->done[i].row] = int32_t(length + 1);
    a.doneScore[shared->done[i].row] = shared->done[i].candidate.score;
  }
  a.doneCount[window.state] += shared->doneCount;
  const bool full = length + 1 - s.begin[first] >= s.maximum[first] || length + 1 >= capacity;
  const bool ended = shared->next == 0 || full || a.doneCount[window.state] >= a.wanted[window.state];
  for (int k = 0; k < window.beams; ++k) {
    a.cumulative[first + k] = shared->children[k].candidate.score;
    s.finished[first + k] = ended;
    if (length >= capacity) continue;
    s.length[first + k] = int32_t(length + 1);
    s.position[first + k] = int32_t(length);
  }
}

}  // namespace

Needs nextBeamsNeeds(const NextBeamsArguments& a) {
  const size_t bytesPerEntry =
      ChoiceScratch::bytes(choiceBlocks(a.step.vocabulary), rankCount(a)) + size_t(a.step.capacity) * 12;
  return {size_t(a.step.batch) * bytesPerEntry, size_t(a.step.batch)};
}

cudaError_t nextBeams(const NextBeamsArguments& arguments, const Launcher& launcher) {
  NextBeamsArguments a = arguments;
  a.step.scratch = a.scratch;
  a.step.counters = a.counters;
  const dim3 grid(unsigned(choiceBlocks(a.step.vocabulary)), unsigned(a.step.batch));
  const cudaError_t error = launch(launcher, rankBeamsKernel, grid, dim3(choiceThreads), sizeof(ChoiceShared), a);
  if (error != cudaSuccess) return error;
  return launch(launcher, advanceBeamsKernel, dim3(unsigned(a.step.beams ? a.step.batch : a.step.batch / a.beams)),
                dim3(choiceThreads), sizeof(BeamsShared), a);
}

}  // namespace onehead::cuda
