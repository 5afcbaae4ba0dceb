// One step of beam search, as openai/whisper's BeamSearchDecoder: the rules of core/token_rules.h on every beam, the
// likeliest continuations of each, and of each window the best of them. Caches stay where they are: beams carry a table
// of rows.
#include "family.h"
#include "vocabulary.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int64_t kMostCandidates = kMostBeams * (kMostBeams + 1);

struct Candidate {
  float score, logProbability;
  int32_t beam, token;
};

/** Where things lie in scratch, in bytes. */
struct Layout {
  int64_t ranked, logSums, tokens, source, logProbability, all;

  Layout(const NextBeams& a, int threads) {
    const int64_t batch = a.step.batch, history = batch * a.step.capacity * 4;
    ranked = roundUp(batch * threads * int64_t(sizeof(Summaries)), 64);
    logSums = ranked + roundUp(batch * kMostTop * int64_t(sizeof(Ranked)), 64);
    tokens = logSums + roundUp(batch * 4, 64);
    source = tokens + roundUp(history, 64);
    logProbability = source + roundUp(history, 64);
    all = logProbability + roundUp(history, 64) + 64;
  }
};

class Beams {
 public:
  Beams(const NextBeams& arguments, const Team& team) : a_(arguments), s_(a_.step), team_(team) {
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
    for (int64_t b = 0; b < s_.batch; ++b)
      summaries_[b * team_.threads + team_.thread] = skipped(b) ? Summaries() : filterShare(s_, b, share);
    team_.barrier();
    for (int64_t b = 0; b < s_.batch; ++b) choice(b, share);
    team_.barrier();
    const int64_t count = most(a_.beams + 1, s_.top);
    for (int64_t b = team_.thread; b < s_.batch; b += team_.threads) {
      if (skipped(b)) continue;
      logSums_[b] = choice(b, Share(0, team_)).logSum();
      rank(s_.logits + b * s_.vocabulary, s_.vocabulary, count, ranked_ + b * kMostTop);
      if (s_.top) writeTop(s_, b, s_.length[b], ranked_ + b * kMostTop, logSums_[b]);
    }
    team_.barrier();
    const int64_t windows = s_.batch / a_.beams;
    for (int64_t w = team_.thread; w < windows; w += team_.threads)
      if (!s_.finished[w * a_.beams]) advance(w);
  }

 private:
  /** Beams that need no logits: of a window that has ended, or not in use. */
  bool skipped(int64_t b) const { return s_.finished[b] || a_.cumulative[b] == -kInfinity; }

  Summary choice(int64_t b, const Share& share) const {
    return allowed(s_, b, s_.timestamps[b], summaries_ + b * team_.threads, team_, share);
  }

  /** The window's candidates, best first. */
  int64_t candidates(int64_t w, Candidate* found) const {
    int64_t count = 0;
    for (int64_t k = 0; k < a_.beams; ++k) {
      const int64_t b = w * a_.beams + k;
      if (skipped(b)) continue;
      for (int64_t i = 0; i <= a_.beams; ++i) {
        const Ranked& one = ranked_[b * kMostTop + i];
        if (one.token < 0) break;
        const float logProbability = one.logit - logSums_[b];
        const Candidate candidate{a_.cumulative[b] + logProbability, logProbability, int32_t(k), one.token};
        int64_t place = count++;
        for (; place > 0 && found[place - 1].score < candidate.score; --place) found[place] = found[place - 1];
        found[place] = candidate;
      }
    }
    return count;
  }

  void advance(int64_t w) const {
    const int64_t first = w * a_.beams, capacity = s_.capacity, length = s_.length[first];
    Candidate found[kMostCandidates];
    const int64_t count = length < capacity ? candidates(w, found) : 0;
    keepHistory(first, length);
    int64_t next = 0;
    float cumulative[kMostBeams];
    for (int64_t i = 0; i < count && next < a_.beams; ++i) {
      const Candidate& candidate = found[i];
      if (candidate.token == s_.endToken) {
        finish(w, first, length, candidate);
      } else {
        continueBeam(first + next, first + candidate.beam, length, candidate);
        cumulative[next++] = candidate.score;
      }
    }
    const bool alive = next > 0;
    for (; next < a_.beams; ++next) {
      // A beam without a continuation keeps step with the others, but takes no further part.
      continueBeam(first + next, first + next, length, {-kInfinity, -kInfinity, int32_t(next), s_.endToken});
      cumulative[next] = -kInfinity;
    }
    const bool full = length + 1 - s_.begin[first] >= s_.maximum[first] || length + 1 >= capacity;
    const bool ended = !alive || full || a_.doneCount[w] >= a_.wanted[w];
    for (int64_t k = 0; k < a_.beams; ++k) {
      a_.cumulative[first + k] = cumulative[k];
      s_.finished[first + k] = ended;
      if (length >= capacity) continue;
      s_.length[first + k] = int32_t(length + 1);
      a_.position[first + k] = int32_t(length);
    }
  }

  /** Copies what the window's beams have written, since parents are overwritten by children. */
  void keepHistory(int64_t first, int64_t length) const {
    for (int64_t b = first; b < first + a_.beams; ++b) {
      copyRow(tokens_, s_.tokens, b, length);
      copyRow(source_, a_.source, b, length);
      copyRow(logProbability_, s_.logProbability, b, length);
      if (length > 0) source_[b * s_.capacity + length - 1] = int32_t(b);  // the position just read lies in its own row
    }
  }
  template <typename T>
  void copyRow(T* to, const T* from, int64_t b, int64_t length) const {
    __builtin_memcpy(to + b * s_.capacity, from + b * s_.capacity, size_t(length) * sizeof(T));
  }

  /** The parent's history and one more token, to row `row` of three tables. */
  void write(int64_t row, int64_t parent, int64_t length, const Candidate& candidate, int32_t* tokens,
             float* logProbability, int32_t* source) const {
    const int64_t to = row * s_.capacity, from = parent * s_.capacity;
    __builtin_memcpy(tokens + to, tokens_ + from, size_t(length) * sizeof(int32_t));
    __builtin_memcpy(source + to, source_ + from, size_t(length) * sizeof(int32_t));
    __builtin_memcpy(logProbability + to, logProbability_ + from, size_t(length) * sizeof(float));
    tokens[to + length] = candidate.token;
    logProbability[to + length] = candidate.logProbability;
    source[to + length] = int32_t(parent);
  }
  void continueBeam(int64_t b, int64_t parent, int64_t length, const Candidate& candidate) const {
    if (length < s_.capacity) write(b, parent, length, candidate, s_.tokens, s_.logProbability, a_.source);
  }
  void finish(int64_t w, int64_t first, int64_t length, const Candidate& candidate) const {
    const int64_t slot = a_.doneCount[w];
    if (slot >= least(a_.wanted[w], a_.most)) return;
    const int64_t row = w * a_.most + slot;
    write(row, first + candidate.beam, length, candidate, a_.doneTokens, a_.doneLogProbability, a_.doneSource);
    a_.doneLength[row] = int32_t(length + 1);
    a_.doneScore[row] = candidate.score;
    a_.doneCount[w] = int32_t(slot + 1);
  }

  const NextBeams& a_;
  const NextToken& s_;
  const Team& team_;
  Summaries* summaries_;
  Ranked* ranked_;
  float* logSums_;
  int32_t *tokens_, *source_;
  float* logProbability_;
};

}  // namespace

size_t nextBeamsBytes(const NextBeams& a, int threads) { return size_t(Layout(a, threads).all); }

void nextBeams(const NextBeams& a, const Team& team) { Beams(a, team).run(); }

}  // namespace onehead::cpu::ONEHEAD_ISA
