// One step of beam search, as openai/whisper's BeamSearchDecoder: applies the rules of token_rules.h to every beam,
// ranks its most probable continuations, and selects the best of each window. The KV caches are not moved: beams have a
// block table.
//
// Scratch memory is indexed by entry, state by row.
#include "cpu/kernels/family.h"
#include "vocabulary.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int64_t maxCandidates = maxBeams * (maxBeams + 1);

struct Candidate {
  float score, logProbability;
  int32_t beam, token;
};

/** The beams of one window: consecutive entries and rows. */
struct Window {
  int64_t entry, row, beams;  // entry and row of the first beam, and the number of beams
  int64_t state;              // index into wanted and doneCount
  int64_t done, room;         // index of its first finished candidate, and how many fit
};

/** Offsets in scratch memory, in bytes. */
struct Layout {
  int64_t ranked, logSums, tokens, source, logProbability, all;

  Layout(const NextBeamsArguments& a, int threads) {
    const int64_t batch = a.step.batch, history = batch * a.step.capacity * 4;
    ranked = roundUp(batch * threads * int64_t(sizeof(Summaries)), 64);
    logSums = ranked + roundUp(batch * maxTop * int64_t(sizeof(Ranked)), 64);
    tokens = logSums + roundUp(batch * 4, 64);
    source = tokens + roundUp(history, 64);
    logProbability = source + roundUp(history, 64);
    all = logProbability + roundUp(history, 64) + 64;
  }
};

class Beams {
 public:
  Beams(const NextBeamsArguments& arguments, const Team& team) : a_(arguments), s_(a_.step), team_(team) {
    const Layout layout(a_, team.threads);
    char* base = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(a_.scratch) + 63) & ~uintptr_t(63));
    summaries_ = reinterpret_cast<Summaries*>(base);
    ranked_ = reinterpret_cast<Ranked*>(base + layout.ranked);
    logSums_ = reinterpret_cast<float*>(base + layout.logSums);
    tokens_ = reinterpret_cast<int32_t*>(base + layout.tokens);
    source_ = reinterpret_cast<int32_t*>(base + layout.source);
    logProbability_ = reinterpret_cast<float*>(base + layout.logProbability);
  }

  void run() {
    const Share share(s_.vocabulary, team_);
    for (int64_t b = 0; b < s_.batch; ++b) {
      const int64_t row = beamRow(b);
      summaries_[b * team_.threads + team_.thread] = row < 0 ? Summaries() : filterShare(s_, b, row, share);
    }
    team_.barrier();
    for (int64_t b = 0; b < s_.batch; ++b)
      if (const int64_t row = beamRow(b); row >= 0) choice(b, row, share);
    team_.barrier();
    for (int64_t b = team_.thread; b < s_.batch; b += team_.threads) {
      const int64_t row = beamRow(b);
      if (row < 0) continue;
      const int64_t count = max(windowOf(b).beams + 1, topOf(s_, row));
      logSums_[b] = choice(b, row, Share(0, team_)).logSum();
      rank(s_.logits + b * s_.vocabulary, s_.vocabulary, count, ranked_ + b * maxTop);
      writeTop(s_, row, s_.length[row], ranked_ + b * maxTop, logSums_[b]);
    }
    team_.barrier();
    int64_t number = 0;
    for (int64_t b = 0; b < s_.batch; ++b) {
      const Window window = windowOf(b);
      if (window.entry != b || window.beams == 0) continue;
      if (number++ % team_.threads == team_.thread && !s_.finished[window.row]) advance(window);
    }
  }

 private:
  /** The window that contains entry b; it has no beams if there is none. */
  Window windowOf(int64_t b) const {
    if (!s_.beams) {
      const int64_t w = b / a_.beams, first = w * a_.beams;
      return {first, first, a_.beams, w, w * a_.doneCapacity, a_.doneCapacity};
    }
    for (int64_t first = b; first >= 0 && b - first < maxBeams && s_.beams[first] != 0; --first) {
      const int64_t beams = s_.beams[first];
      if (beams < 0) continue;
      const int64_t row = stateRow(s_, first);
      const bool fits = beams <= maxBeams && first + beams <= s_.batch && row >= 0 && row + beams <= s_.pool;
      if (!fits || b >= first + beams) break;
      return {first, row, beams, row, row * a_.doneCapacity, beams * a_.doneCapacity};
    }
    return {b, -1, 0, 0, 0, 0};
  }

  /** The row of a beam whose logits are needed; -1 if its window has ended or the beam is not in use. */
  int64_t beamRow(int64_t b) const {
    const Window window = windowOf(b);
    if (window.beams == 0) return -1;
    const int64_t row = window.row + b - window.entry;
    return s_.finished[row] || a_.cumulative[row] == -infinity ? -1 : row;
  }

  Summary choice(int64_t b, int64_t row, const Share& share) const {
    return allowed(s_, b, s_.timestamps[row], summaries_ + b * team_.threads, team_, share);
  }

  /** Collects the window's candidates, best first; returns their number. */
  int64_t candidates(const Window& window, Candidate* found) const {
    int64_t count = 0;
    for (int64_t k = 0; k < window.beams; ++k) {
      const int64_t b = window.entry + k, row = beamRow(b);
      if (row < 0) continue;
      for (int64_t i = 0; i <= window.beams; ++i) {
        const Ranked& one = ranked_[b * maxTop + i];
        if (one.token < 0) break;
        const float logProbability = one.logit - logSums_[b];
        const Candidate candidate{a_.cumulative[row] + logProbability, logProbability, int32_t(k), one.token};
        int64_t index = count++;
        for (; index > 0 && found[index - 1].score < candidate.score; --index) found[index] = found[index - 1];
        found[index] = candidate;
      }
    }
    return count;
  }

  void advance(const Window& window) const {
    const int64_t first = window.row, capacity = s_.capacity, length = s_.length[first];
    Candidate found[maxCandidates];
    const int64_t count = length < capacity ? candidates(window, found) : 0;
    keepHistory(window, length);
    int64_t next = 0;
    float cumulative[maxBeams];
    for (int64_t i = 0; i < count && next < window.beams; ++i) {
      const Candidate& candidate = found[i];
      if (candidate.token == s_.endToken) {
        finish(window, length, candidate);
      } else {
        continueBeam(window, next, length, candidate);
        cumulative[next++] = candidate.score;
      }
    }
    const bool alive = next > 0;
    for (; next < window.beams; ++next) {
      // A beam without a continuation keeps the length of the others, but is no longer in use.
      continueBeam(window, next, length, {-infinity, -infinity, int32_t(next), s_.endToken});
      cumulative[next] = -infinity;
    }
    const bool full = length + 1 - s_.begin[first] >= s_.maximum[first] || length + 1 >= capacity;
    const bool ended = !alive || full || a_.doneCount[window.state] >= a_.wanted[window.state];
    for (int64_t k = 0; k < window.beams; ++k) {
      a_.cumulative[first + k] = cumulative[k];
      s_.finished[first + k] = ended;
      if (length >= capacity) continue;
      s_.length[first + k] = int32_t(length + 1);
      s_.position[first + k] = int32_t(length);
    }
  }

  /** Copies the histories of the window's beams, since children overwrite parents. */
  void keepHistory(const Window& window, int64_t length) const {
    for (int64_t k = 0; k < window.beams; ++k) {
      const int64_t to = (window.entry + k) * s_.capacity, from = (window.row + k) * s_.capacity;
      __builtin_memcpy(tokens_ + to, s_.tokens + from, size_t(length) * sizeof(int32_t));
      __builtin_memcpy(source_ + to, a_.source + from, size_t(length) * sizeof(int32_t));
      __builtin_memcpy(logProbability_ + to, s_.logProbability + from, size_t(length) * sizeof(float));
      if (length > 0) source_[to + length - 1] = int32_t(window.row + k);  // the position just read is in its own row
    }
  }

  /** Writes the history of the candidate's beam and one more token to row `row` of three tables. */
  void write(const Window& window, int64_t row, int64_t length, const Candidate& candidate, int32_t* tokens,
             float* logProbability, int32_t* source) const {
    const int64_t to = row * s_.capacity, from = (window.entry + candidate.beam) * s_.capacity;
    __builtin_memcpy(tokens + to, tokens_ + from, size_t(length) * sizeof(int32_t));
    __builtin_memcpy(source + to, source_ + from, size_t(length) * sizeof(int32_t));
    __builtin_memcpy(logProbability + to, logProbability_ + from, size_t(length) * sizeof(float));
    tokens[to + length] = candidate.token;
    logProbability[to + length] = candidate.logProbability;
    source[to + length] = int32_t(window.row + candidate.beam);
  }
  void continueBeam(const Window& window, int64_t beam, int64_t length, const Candidate& candidate) const {
    if (length < s_.capacity)
      write(window, window.row + beam, length, candidate, s_.tokens, s_.logProbability, a_.source);
  }
  void finish(const Window& window, int64_t length, const Candidate& candidate) const {
    const int64_t slot = a_.doneCount[window.state];
    if (slot >= min(a_.wanted[window.state], window.room)) return;
    const int64_t row = window.done + slot;
    write(window, row, length, candidate, a_.doneTokens, a_.doneLogProbability, a_.doneSource);
    a_.doneLength[row] = int32_t(length + 1);
    a_.doneScore[row] = candidate.score;
    a_.doneCount[window.state] = int32_t(slot + 1);
  }

  const NextBeamsArguments& a_;
  const NextTokenArguments& s_;
  const Team& team_;
  Summaries* summaries_;
  Ranked* ranked_;
  float* logSums_;
  int32_t *tokens_, *source_;
  float* logProbability_;
};

}  // namespace

size_t nextBeamsScratch(const NextBeamsArguments& a, int threads) { return size_t(Layout(a, threads).all); }

void nextBeams(const NextBeamsArguments& a, const Team& team) { Beams(a, team).run(); }

}  // namespace onehead::cpu::ONEHEAD_ISA
