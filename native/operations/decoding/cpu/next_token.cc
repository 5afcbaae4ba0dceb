// Chooses the next token of each sequence under the rules of token_rules.h: the most probable one, or sampled with a
// temperature.
#include "cpu/kernels/family.h"
#include "vocabulary.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

void append(const NextTokenArguments& a, int64_t row, const Summary& chosen, float logSum) {
  if (a.length[row] >= a.capacity) {
    a.finished[row] = 1;
    return;
  }
  const bool none = chosen.sampled < 0;
  const int32_t token = none ? a.endToken : int32_t(chosen.sampled);
  const int32_t index = a.length[row];
  a.tokens[row * a.capacity + index] = token;
  a.logProbability[row * a.capacity + index] = none ? -infinity : chosen.sampledLogit - logSum;
  a.length[row] = index + 1;
  const bool full = index + 1 - a.begin[row] >= a.maximum[row] || index + 1 >= a.capacity;
  if (token == a.endToken || full) a.finished[row] = 1;
}

/** The row of an entry that this operation handles; -1 for idle entries and beams. */
int64_t rowToChoose(const NextTokenArguments& a, int64_t b) { return a.beams && a.beams[b] != 0 ? -1 : stateRow(a, b); }

}  // namespace

size_t nextTokenScratch(const NextTokenArguments& a, int threads) {
  return size_t(a.batch) * size_t(threads) * sizeof(Summaries) + 64;
}

void nextToken(const NextTokenArguments& a, const Team& team) {
  Summaries* all = reinterpret_cast<Summaries*>((reinterpret_cast<uintptr_t>(a.scratch) + 63) & ~uintptr_t(63));
  const Share share(a.vocabulary, team);
  for (int64_t b = 0; b < a.batch; ++b) {
    const int64_t row = rowToChoose(a, b);
    all[b * team.threads + team.thread] = row < 0 || a.finished[row] ? Summaries() : filterShare(a, b, row, share);
  }
  team.barrier();
  if (a.top) {
    auto ranks = [&](int64_t row) { return row >= 0 && !a.finished[row] && topOf(a, row) > 0; };
    // Ranking reads whole rows of logits, and needs the state before it changes.
    for (int64_t b = 0; b < a.batch; ++b) {
      const int64_t row = rowToChoose(a, b);
      if (ranks(row)) allowed(a, b, a.timestamps[row], all + b * team.threads, team, share);
    }
    team.barrier();
    for (int64_t b = team.thread; b < a.batch; b += team.threads) {
      const int64_t row = rowToChoose(a, b);
      if (!ranks(row)) continue;
      const Summary choice = allowed(a, b, a.timestamps[row], all + b * team.threads, team, {0, team});
      Ranked ranked[maxTop];
      rank(a.logits + b * a.vocabulary, a.vocabulary, topOf(a, row), ranked);
      writeTop(a, row, a.length[row], ranked, choice.logSum());
    }
    team.barrier();
  }
  // Thread 0 changes the state from here on, so the others may only read summaries; those of finished sequences are
  // empty.
  for (int64_t b = 0; b < a.batch; ++b) {
    const int64_t row = rowToChoose(a, b);
    if (row < 0) continue;
    const Summary choice = allowed(a, b, a.timestamps[row], all + b * team.threads, team, share);
    if (team.thread != 0) continue;
    if (!a.finished[row]) append(a, row, choice, choice.logSum());
    a.position[row] = a.length[row] - 1;
  }
}

}  // namespace onehead::cpu::ONEHEAD_ISA
