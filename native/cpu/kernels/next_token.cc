// The next token of each sequence under the rules of core/token_rules.h: the likeliest, or one drawn at a temperature.
#include "family.h"
#include "vocabulary.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

void append(const NextToken& a, int64_t b, const Summary& chosen, float logSum) {
  if (a.length[b] >= a.capacity) {
    a.finished[b] = 1;
    return;
  }
  const bool none = chosen.drawn < 0;
  const int32_t token = none ? a.endToken : int32_t(chosen.drawn);
  const int32_t place = a.length[b];
  a.tokens[b * a.capacity + place] = token;
  a.logProbability[b * a.capacity + place] = none ? -kInfinity : chosen.drawnLogit - logSum;
  a.length[b] = place + 1;
  const bool full = place + 1 - a.begin[b] >= a.maximum[b] || place + 1 >= a.capacity;
  if (token == a.endToken || full) a.finished[b] = 1;
}

}  // namespace

size_t nextTokenBytes(int64_t batch, int threads) { return size_t(batch) * size_t(threads) * sizeof(Summaries) + 64; }

void nextToken(const NextToken& a, const Team& team) {
  Summaries* all = reinterpret_cast<Summaries*>((reinterpret_cast<uintptr_t>(a.scratch) + 63) & ~uintptr_t(63));
  const Share share(a.vocabulary, team);
  for (int64_t b = 0; b < a.batch; ++b)
    all[b * team.threads + team.thread] = a.finished[b] ? Summaries() : filterShare(a, b, share);
  team.barrier();
  if (a.top) {
    // The rows must be whole before they are ranked, and the state unchanged until then.
    for (int64_t b = 0; b < a.batch; ++b)
      if (!a.finished[b]) allowed(a, b, a.timestamps[b], all + b * team.threads, team, share);
    team.barrier();
    for (int64_t b = team.thread; b < a.batch; b += team.threads) {
      if (a.finished[b]) continue;
      const Summary choice = allowed(a, b, a.timestamps[b], all + b * team.threads, team, {0, team});
      Ranked ranked[kMostTop];
      rank(a.logits + b * a.vocabulary, a.vocabulary, a.top, ranked);
      writeTop(a, b, a.length[b], ranked, choice.logSum());
    }
    team.barrier();
  }
  // From here on thread 0 changes the state, so the others look at the summaries only; a finished sequence's are empty.
  for (int64_t b = 0; b < a.batch; ++b) {
    const Summary choice = allowed(a, b, a.timestamps[b], all + b * team.threads, team, share);
    if (team.thread == 0 && !a.finished[b]) append(a, b, choice, choice.logSum());
  }
}

}  // namespace onehead::cpu::ONEHEAD_ISA
