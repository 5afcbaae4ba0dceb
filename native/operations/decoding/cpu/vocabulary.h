// What nextToken and nextBeams share: one pass over the vocabulary that applies the rules of token_rules.h and
// summarizes what is left, and ranking the most probable tokens.
//
// Each thread filters its share of every sequence's vocabulary and reduces it to two summaries, of text and of
// timestamps. After the barrier every thread combines the summaries in the same way.
#pragma once

#include "cpu/kernels/math.h"
#include "operations/decoding/noise.h"
#include "operations/decoding/token_rules.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int64_t blockLogits = 2048;  // stay in the L1 cache between the maximum and the exponentials

/** The highest logit, the lowest token that has it, the sum of e^(logit - highest), and the sampled token. */
struct Summary {
  float highest = -infinity;
  float sum = 0;
  int64_t token = -1;
  float sampledScore = -infinity;  // logit / temperature + noise
  float sampledLogit = -infinity;
  int64_t sampled = -1;

  void include(const Summary& other) {
    if (other.token < 0) return;
    if (token < 0 || other.highest > highest || (other.highest == highest && other.token < token)) {
      sum = other.sum + (token < 0 ? 0.0f : sum * expNegative(highest - other.highest));
      highest = other.highest;
      token = other.token;
    } else {
      sum += other.sum * expNegative(other.highest - highest);
    }
    if (sampled < 0 || other.sampledScore > sampledScore ||
        (other.sampledScore == sampledScore && other.sampled < sampled)) {
      sampledScore = other.sampledScore;
      sampledLogit = other.sampledLogit;
      sampled = other.sampled;
    }
  }
  float logSum() const { return token < 0 ? -infinity : highest + float(__builtin_log(double(sum))); }
};

struct alignas(64) Summaries {
  Summary text, timestamps;
};

/** The row of state that entry b works on; -1 if it is idle. */
inline int64_t stateRow(const NextTokenArguments& a, int64_t b) {
  if (!a.rows) return b;
  const int64_t row = a.rows[b];
  return row >= 0 && row < a.pool ? row : -1;
}

/** A sequence's sampling; inverse 0 means none: the most probable token is chosen. */
struct Sampler {
  float inverse = 0;
  uint32_t key = 0;

  Sampler(const NextTokenArguments& a, int64_t row) {
    if (!a.temperature || !(a.temperature[row] > 0)) return;
    inverse = 1 / a.temperature[row];
    key = noiseKey(a.seed[row], a.length[row] - a.begin[row]);
  }

  /** Samples from logits [begin, end), of which summary.token is the highest. */
  void run(const float* logits, int64_t begin, int64_t end, Summary& summary) const {
    if (inverse == 0) {
      summary.sampledScore = summary.sampledLogit = summary.highest;
      summary.sampled = summary.token;
      return;
    }
    auto consider = [&](int64_t i) {
      const float score = logits[i] * inverse + gumbelNoise(key, i);
      if (score < summary.sampledScore || (score == summary.sampledScore && i > summary.sampled)) return;
      summary.sampledScore = score;
      summary.sampledLogit = logits[i];
      summary.sampled = i;
    };
    consider(summary.token);
    int64_t i = begin;
    for (; i + vectorWidth <= end; i += vectorWidth) {  // noise (two logarithms) is computed only if it can matter
      const F upperBound = load(logits + i) * splat(inverse) + splat(maxNoise);
      if (maxLane(upperBound) < summary.sampledScore) continue;
      for (int j = 0; j < vectorWidth; ++j)
        if (upperBound[j] >= summary.sampledScore) consider(i + j);
    }
    for (; i < end; ++i)
      if (logits[i] * inverse + maxNoise >= summary.sampledScore) consider(i);
  }
};

/** Applies the suppressed bits to logits [begin, end), at most blockLogits of them, and summarizes them. */
Summary summarize(float* logits, const uint8_t* suppressed, uint8_t bits, int64_t begin, int64_t end,
                  const Sampler& sampler) {
  F highest = splat(-infinity);
  int64_t i = begin;
  for (; i + vectorWidth <= end; i += vectorWidth) {
    F value = load(logits + i);
    I flags;
    for (int j = 0; j < vectorWidth; ++j) flags[j] = suppressed[i + j];
    value = (flags & splatInteger(bits)) == I{} ? value : splat(-infinity);
    value = value == value ? value : splat(-infinity);
    store(logits + i, value);
    highest = max(highest, value);
  }
  Summary summary;
  float top = maxLane(highest);
  for (; i < end; ++i) {
    if ((suppressed[i] & bits) != 0 || logits[i] != logits[i]) logits[i] = -infinity;
    if (logits[i] > top) top = logits[i];
  }
  if (top == -infinity) return summary;
  summary.highest = top;
  summary.token = begin;
  while (logits[summary.token] != top) ++summary.token;
  F sums = {};
  for (i = begin; i + vectorWidth <= end; i += vectorWidth) {
    const F value = load(logits + i);
    sums += value == splat(-infinity) ? F{} : expNegative(value - splat(top));
  }
  summary.sum = sum(sums);
  for (; i < end; ++i)
    if (logits[i] != -infinity) summary.sum += expNegative(logits[i] - top);
  sampler.run(logits, begin, end, summary);
  return summary;
}

void forbid(float* logits, TokenRange range, const Share& share) {
  for (int64_t i = max(range.begin, share.begin); i < min(range.end, share.end); ++i) logits[i] = -infinity;
}

/** Applies repetition penalty and forbidden n-grams to this thread's share of a row's logits. */
void penalize(const NextTokenArguments& a, int64_t row, float* logits, const Share& share) {
  const int64_t generated = int64_t(a.length[row]) - a.begin[row];
  const int32_t* tokens = a.tokens + row * a.capacity + a.begin[row];
  auto inShare = [&](int32_t token) { return token >= share.begin && token < share.end && !isTimestamp(a, token); };
  if (a.repetitionPenalty && a.repetitionPenalty[row] != 1) {
    for (int64_t i = 0; i < generated; ++i) {
      if (!inShare(tokens[i])) continue;
      bool first = true;
      for (int64_t j = 0; j < i && first; ++j) first = tokens[j] != tokens[i];
      float& logit = logits[tokens[i]];
      if (first) logit = logit > 0 ? logit / a.repetitionPenalty[row] : logit * a.repetitionPenalty[row];
    }
  }
  const int64_t size = a.noRepeat ? a.noRepeat[row] : 0;
  if (size <= 0 || generated + 1 < size) return;
  const int32_t* last = tokens + generated - (size - 1);
  for (int64_t i = 0; i + size <= generated; ++i) {
    bool same = true;
    for (int64_t j = 0; j < size - 1 && same; ++j) same = tokens[i + j] == last[j];
    if (same && inShare(tokens[i + size - 1])) logits[tokens[i + size - 1]] = -infinity;
  }
}

/** Filters and summarizes this thread's share of the logits of entry b, whose state is in this row. */
Summaries filterShare(const NextTokenArguments& a, int64_t b, int64_t row, const Share& share) {
  Summaries summaries;
  float* logits = a.logits + b * a.vocabulary;
  penalize(a, row, logits, share);
  const ForbiddenTokens forbidden = forbiddenTokens(a, row);
  for (int i = 0; i < forbidden.count; ++i) forbid(logits, forbidden.ranges[i], share);
  const Sampler sampler(a, row);
  const uint8_t* suppressed = a.suppressed + row * a.suppressedStride;
  for (int64_t i = share.begin; i < share.end;) {
    const bool text = !isTimestamp(a, i);
    const int64_t kindEnd = i < a.timestampBegin ? a.timestampBegin : text ? a.vocabulary : a.timestampEnd;
    const int64_t end = min(min(i + blockLogits, share.end), kindEnd);
    const Summary part = summarize(logits, suppressed, forbidden.suppressedBits, i, end, sampler);
    (text ? summaries.text : summaries.timestamps).include(part);
    i = end;
  }
  return summaries;
}

/**
 * Combines all threads' summaries of entry b. If timestamps are more probable, text is forbidden in this thread's
 * share. Every thread calls this and gets the same result.
 */
Summary allowed(const NextTokenArguments& a, int64_t b, bool timestamps, const Summaries* shares, const Team& team,
                const Share& share) {
  Summaries total;
  for (int thread = 0; thread < team.threads; ++thread) {
    total.text.include(shares[thread].text);
    total.timestamps.include(shares[thread].timestamps);
  }
  if (timestamps && total.timestamps.logSum() > total.text.highest) {
    forbid(a.logits + b * a.vocabulary, {0, a.timestampBegin}, share);
    forbid(a.logits + b * a.vocabulary, {a.timestampEnd, a.vocabulary}, share);
    return total.timestamps;
  }
  total.text.include(total.timestamps);
  return total.text;
}

struct Ranked {
  float logit;
  int32_t token;
};

/** The `count` highest logits, highest first and lower token first if equal; token -1 beyond the last. */
void rank(const float* logits, int64_t vocabulary, int64_t count, Ranked* found) {
  for (int64_t i = 0; i < count; ++i) found[i] = {-infinity, -1};
  auto insert = [&](int64_t token) {
    const float logit = logits[token];
    if (!(logit > found[count - 1].logit)) return;
    int64_t index = count - 1;
    for (; index > 0 && found[index - 1].logit < logit; --index) found[index] = found[index - 1];
    found[index] = {logit, int32_t(token)};
  };
  int64_t i = 0;
  for (; i + vectorWidth <= vocabulary; i += vectorWidth) {
    if (!(maxLane(load(logits + i)) > found[count - 1].logit)) continue;
    for (int j = 0; j < vectorWidth; ++j) insert(i + j);
  }
  for (; i < vocabulary; ++i) insert(i);
}

/** How many top tokens are wanted of the sequence in this row. */
int64_t topOf(const NextTokenArguments& a, int64_t row) {
  return a.topCount ? min(max(int64_t(a.topCount[row]), 0), a.top) : a.top;
}

/** Writes the top tokens of the sequence in this row at the index of the new token. */
void writeTop(const NextTokenArguments& a, int64_t row, int64_t index, const Ranked* ranked, float logSum) {
  const int64_t wanted = topOf(a, row);
  if (wanted == 0 || index < 0 || index >= a.capacity) return;
  const int64_t to = (row * a.capacity + index) * a.top;
  for (int64_t i = 0; i < a.top; ++i) {
    const bool valid = i < wanted && ranked[i].token >= 0;
    a.topTokens[to + i] = valid ? ranked[i].token : -1;
    a.topLogProbability[to + i] = valid ? ranked[i].logit - logSum : -infinity;
  }
}

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
