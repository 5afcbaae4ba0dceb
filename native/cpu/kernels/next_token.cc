// Greedy choice under the rules of core/token_rules.h. Each thread filters its share of every sequence's vocabulary and
// reduces it to two summaries, of text and of timestamps; after the barrier all of them combine the summaries alike.
#include "../../core/token_rules.h"
#include "family.h"
#include "math.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int64_t kBlock = 2048;  // logits that stay in the first-level cache between the maximum and the exponentials

/** The highest logit, the lowest token that has it, and the sum of e^(logit - highest). */
struct Summary {
  float highest = -kInfinity;
  float sum = 0;
  int64_t token = -1;

  void include(const Summary& other) {
    if (other.token < 0) return;
    if (token < 0 || other.highest > highest) {
      sum = other.sum + (token < 0 ? 0.0f : sum * expNegative(highest - other.highest));
      highest = other.highest;
      token = other.token;
    } else {
      sum += other.sum * expNegative(other.highest - highest);
    }
  }
  float logSum() const { return token < 0 ? -kInfinity : highest + float(__builtin_log(double(sum))); }
};

struct alignas(64) Summaries {
  Summary text, timestamps;
};

/** Filters logits [begin, end), at most kBlock of them, by the suppressed bits and summarises them. */
Summary summarise(float* logits, const uint8_t* suppressed, uint8_t bits, int64_t begin, int64_t end) {
  F highest = splat(-kInfinity);
  int64_t i = begin;
  for (; i + kWidth <= end; i += kWidth) {
    F value = load(logits + i);
    I flags;
    for (int j = 0; j < kWidth; ++j) flags[j] = suppressed[i + j];
    value = (flags & splatInteger(bits)) == I{} ? value : splat(-kInfinity);
    value = value == value ? value : splat(-kInfinity);
    store(logits + i, value);
    highest = larger(highest, value);
  }
  Summary summary;
  float top = largest(highest);
  for (; i < end; ++i) {
    if ((suppressed[i] & bits) != 0 || logits[i] != logits[i]) logits[i] = -kInfinity;
    if (logits[i] > top) top = logits[i];
  }
  if (top == -kInfinity) return summary;
  summary.highest = top;
  summary.token = begin;
  while (logits[summary.token] != top) ++summary.token;
  F sums = {};
  for (i = begin; i + kWidth <= end; i += kWidth) {
    const F value = load(logits + i);
    sums += value == splat(-kInfinity) ? F{} : expNegative(value - splat(top));
  }
  summary.sum = sum(sums);
  for (; i < end; ++i)
    if (logits[i] != -kInfinity) summary.sum += expNegative(logits[i] - top);
  return summary;
}

void fill(float* logits, TokenRange range, const Share& share) {
  for (int64_t i = most(range.begin, share.begin); i < least(range.end, share.end); ++i) logits[i] = -kInfinity;
}

void append(const NextToken& a, int64_t b, const Summary& chosen, float logSum) {
  if (a.length[b] >= a.capacity) {
    a.finished[b] = 1;
    return;
  }
  const bool none = chosen.token < 0;
  const int32_t token = none ? a.endToken : int32_t(chosen.token);
  const int32_t place = a.length[b];
  a.tokens[b * a.capacity + place] = token;
  a.logProbability[b * a.capacity + place] = none ? -kInfinity : chosen.highest - logSum;
  a.length[b] = place + 1;
  const bool full = place + 1 - a.begin[b] >= a.maximum[b] || place + 1 >= a.capacity;
  if (token == a.endToken || full) a.finished[b] = 1;
}

}  // namespace

size_t nextTokenBytes(int64_t batch, int threads) { return size_t(batch) * size_t(threads) * sizeof(Summaries) + 64; }

void nextToken(const NextToken& a, const Team& team) {
  Summaries* all = reinterpret_cast<Summaries*>((reinterpret_cast<uintptr_t>(a.scratch) + 63) & ~uintptr_t(63));
  const Share share(a.vocabulary, team);
  for (int64_t b = 0; b < a.batch; ++b) {
    Summaries& mine = all[b * team.threads + team.thread];
    mine = Summaries();
    if (a.finished[b]) continue;
    float* logits = a.logits + b * a.vocabulary;
    const ForbiddenTokens forbidden = forbiddenTokens(a, b);
    for (int i = 0; i < forbidden.count; ++i) fill(logits, forbidden.ranges[i], share);
    for (int64_t i = share.begin; i < share.end;) {
      const bool text = i < a.timestampBegin;
      const int64_t end = least(least(i + kBlock, share.end), text ? a.timestampBegin : a.vocabulary);
      const Summary part = summarise(logits, a.suppressed, forbidden.suppressedBits, i, end);
      (text ? mine.text : mine.timestamps).include(part);
      i = end;
    }
  }
  team.barrier();
  // From here on thread 0 changes the state, so the others look at the summaries only; a finished sequence's are empty.
  for (int64_t b = 0; b < a.batch; ++b) {
    Summaries total;
    for (int thread = 0; thread < team.threads; ++thread) {
      total.text.include(all[b * team.threads + thread].text);
      total.timestamps.include(all[b * team.threads + thread].timestamps);
    }
    const bool timestamp = a.timestamps[b] && total.timestamps.logSum() > total.text.highest;
    if (timestamp) fill(a.logits + b * a.vocabulary, {0, a.timestampBegin}, share);
    if (team.thread != 0 || a.finished[b]) continue;
    if (!timestamp) total.text.include(total.timestamps);  // of equals the text, whose tokens are lower, stays
    const Summary& chosen = timestamp ? total.timestamps : total.text;
    append(a, b, chosen, chosen.logSum());
  }
}

}  // namespace onehead::cpu::ONEHEAD_ISA
