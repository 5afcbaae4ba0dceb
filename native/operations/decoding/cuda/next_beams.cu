// One step of beam search, as openai/whisper's BeamSearchDecoder: the rules on every beam, the likeliest continuations
// of each, and of each window the best of them. Caches stay where they are: beams carry a table of rows.
//
// Shapes  logits [windows x beams, vocabulary] float32
// Bytes   the logits once; each beam's history (tokens, rows, log-probabilities) twice, a few kilobytes
// Method  the first kernel is that of next_token.cu without its end: beams + 1 ranked tokens of each beam. The second
//         has a block a window: it sorts the candidates by counting those that are better, lets one thread decide which
//         finish and which go on, and copies the parents' histories to the children's places, by way of a copy, since
//         parents are overwritten.
//
// History
//   Passed its tests on an H200 (commit 1dabc91); never timed by itself. Its first kernel is next_token.cu's, whose
//   figures are there.
#include "vocabulary.h"

namespace onehead::cuda {

namespace {

constexpr int mostCandidates = mostBeams * (mostBeams + 1);

/** Tokens that are ranked of a beam, at most. */
__host__ __device__ int64_t rankCount(const NextBeamsArguments& a) {
  return larger<int64_t>((a.step.beams ? int64_t(mostBeams) : a.beams) + 1, a.step.top);
}

/** The beams of one window: neighbouring entries and rows. */
struct Window {
  int entry, row, beams;  // the first beam's, and how many; none: there is no window
  int state;              // its place in wanted and doneCount
  int done, room;         // where its candidates begin, and how many there may be
};

/** The window that entry b is a beam of. */
__device__ Window windowOf(const NextBeamsArguments& a, int b) {
  const NextTokenArguments& s = a.step;
  const int most = int(a.most);
  if (!s.beams) {
    const int w = b / int(a.beams), first = w * int(a.beams);
    return {first, first, int(a.beams), w, w * most, most};
  }
  for (int first = b; first >= 0 && b - first < mostBeams && s.beams[first] != 0; --first) {
    const int beams = s.beams[first];
    if (beams < 0) continue;
    const int row = int(stateRow(s, first));
    const bool fits = beams <= mostBeams && first + beams <= s.batch && row >= 0 && row + beams <= s.pool;
    if (!fits || b >= first + beams) break;
    return {first, row, beams, row, row * most, beams * most};
  }
  return {b, -1, 0, 0, 0, 0};
}

/** Beams that need no logits: of a window that has ended, or not in use. */
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
  if (summariseVocabulary(a.step, b, row, larger<int64_t>(window.beams + 1, topOf(a.step, row)), state, logits, scratch,
                          *shared, choice))
    writeTop(a.step, row, scratch, choice.logSum());
}

struct Candidate {
  float score, logProbability;
  int beam, token;
};

/** A row to write: a parent's history and one more token. */
struct Continuation {
  Candidate candidate;
  int64_t row;
};

struct BeamsShared {
  Candidate all[mostCandidates], sorted[mostCandidates];
  Continuation children[mostBeams], done[mostBeams];
  int count, next, doneCount;
};

/** The window's candidates, best first; of equals the lower beam's, then the lower token. Called by the block. */
__device__ void sortCandidates(const NextBeamsArguments& a, const Window& window, BeamsShared& shared) {
  const int wide = int(window.beams) + 1, places = int(window.beams) * wide;
  for (int i = int(threadIdx.x); i < places; i += choiceThreads) {
    const int64_t row = window.row + i / wide;
    Candidate candidate{-infinity, -infinity, i / wide, -1};
    if (!skipped(a, row)) {
      const int64_t blocks = choiceBlocks(a.step.vocabulary);
      const ChoiceScratch scratch(a.step.scratch, window.entry + i / wide, blocks, rankCount(a));
      const Ranked one = scratch.ranked[i % wide];
      candidate.token = one.token;
      candidate.logProbability = one.logit - *scratch.logSum;
      candidate.score = a.cumulative[row] + candidate.logProbability;
    }
    shared.all[i] = candidate;
  }
  if (threadIdx.x == 0) shared.count = 0;
  __syncthreads();
  for (int i = int(threadIdx.x); i < places; i += choiceThreads) {
    const Candidate mine = shared.all[i];
    if (mine.token < 0) continue;
    int place = 0;
    for (int j = 0; j < places; ++j) {
      const Candidate& other = shared.all[j];
      place += other.token >= 0 && (other.score > mine.score || (other.score == mine.score && j < i));
    }
    shared.sorted[place] = mine;
    atomicAdd(&shared.count, 1);
  }
  __syncthreads();
}

/** Which candidates finish and which go on. Called by one thread; gives the number of beams that go on. */
__device__ int decide(const NextBeamsArguments& a, const Window& window, int64_t length, BeamsShared& shared) {
  int next = 0, finishing = 0;
  const int count = length < a.step.capacity ? shared.count : 0;
  for (int i = 0; i < count && next < window.beams; ++i) {
    const Candidate& candidate = shared.sorted[i];
    if (candidate.token != a.step.endToken) {
      shared.children[next] = {candidate, window.row + next};
      ++next;
    } else if (const int64_t slot = a.doneCount[window.state] + finishing;
               slot < smaller<int64_t>(a.wanted[window.state], window.room)) {
      shared.done[finishing++] = {candidate, window.done + slot};
    }
  }
  // A beam without a continuation keeps step with the others, but takes no further part.
  for (int k = next; k < window.beams; ++k)
    shared.children[k] = {{-infinity, -infinity, k, a.step.endToken}, window.row + k};
  shared.doneCount = finishing;
  return next;
}

/** Histories [sequences, capacity] that beams share. */
struct Histories {
  int32_t *tokens, *source;
  float* logProbability;
};

/** `old` holds the histories by entries, the others by rows. */
__device__ void write(const Histories& to, const Histories& old, const Continuation& one, const Window& window,
                      int64_t capacity, int64_t length) {
  const int64_t parent = one.candidate.beam;
  for (int64_t i = threadIdx.x; i <= length; i += choiceThreads) {
    const int64_t at = one.row * capacity + i, from = (window.entry + parent) * capacity + i;
    const bool fresh = i == length;
    to.tokens[at] = fresh ? one.candidate.token : old.tokens[from];
    to.source[at] = fresh ? int32_t(window.row + parent) : old.source[from];
    to.logProbability[at] = fresh ? one.candidate.logProbability : old.logProbability[from];
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

  auto* kept = static_cast<unsigned char*>(s.scratch) +
               size_t(s.batch) * ChoiceScratch::bytes(choiceBlocks(s.vocabulary), rankCount(a));
  const size_t table = size_t(s.batch * capacity) * 4;
  const Histories old{reinterpret_cast<int32_t*>(kept), reinterpret_cast<int32_t*>(kept + table),
                      reinterpret_cast<float*>(kept + 2 * table)};
  for (int64_t i = threadIdx.x; i < window.beams * smaller<int64_t>(length, capacity); i += choiceThreads) {
    const int64_t beam = i / length, place = i % length, row = first + beam;
    const int64_t to = (window.entry + beam) * capacity + place, from = row * capacity + place;
    old.tokens[to] = s.tokens[from];
    old.source[to] = place == length - 1 ? int32_t(row) : a.source[from];  // the position just read lies in its own row
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
  const size_t ofRow =
      ChoiceScratch::bytes(choiceBlocks(a.step.vocabulary), rankCount(a)) + size_t(a.step.capacity) * 12;
  return {size_t(a.step.batch) * ofRow, size_t(a.step.batch)};
}

cudaError_t nextBeams(const NextBeamsArguments& given, const Launcher& launcher) {
  NextBeamsArguments a = given;
  a.step.scratch = a.scratch;
  a.step.counters = a.counters;
  const dim3 grid(unsigned(choiceBlocks(a.step.vocabulary)), unsigned(a.step.batch));
  const cudaError_t error = launch(launcher, rankBeamsKernel, grid, dim3(choiceThreads), sizeof(ChoiceShared), a);
  if (error != cudaSuccess) return error;
  return launch(launcher, advanceBeamsKernel, dim3(unsigned(a.step.beams ? a.step.batch : a.step.batch / a.beams)),
                dim3(choiceThreads), sizeof(BeamsShared), a);
}

}  // namespace onehead::cuda
