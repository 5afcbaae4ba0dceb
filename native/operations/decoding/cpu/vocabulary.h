// What choosing one token and choosing beams share: one pass over the vocabulary that applies the rules of
// operations/decoding/token_rules.h
// and summarises what is left, and the likeliest tokens of a filtered row.
//
// Each thread filters its share of every sequence's vocabulary and reduces it to two summaries, of text and of
// timestamps; after the barrier all of them combine the summaries alike.
#pragma once

#include "cpu/kernels/math.h"
#include "operations/decoding/noise.h"
#include "operations/decoding/token_rules.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

constexpr int64_t blockLogits =
    2048;  // logits that stay in the first-level cache between the maximum and the exponentials

/** The highest logit, the lowest token that has it, and the sum of e^(logit - highest); and the drawn token. */
struct Summary {
  float highest = -infinity;
  float sum = 0;
  int64_t token = -1;
  float drawnScore = -infinity;  // logit / temperature + noise
  float drawnLogit = -infinity;
  int64_t drawn = -1;

  void include(const Summary& other) {
    if (other.token < 0) return;
    if (token < 0 || other.highest > highest || (other.highest == highest && other.token < token)) {
      sum = other.sum + (token < 0 ? 0.0f : sum * expNegative(highest - other.highest));
      highest = other.highest;
      token = other.token;
    } else {
      sum += other.sum * expNegative(other.highest - highest);
    }
    if (drawn < 0 || other.drawnScore > drawnScore || (other.drawnScore == drawnScore && other.drawn < drawn)) {
      drawnScore = other.drawnScore;
      drawnLogit = other.drawnLogit;
      drawn = other.drawn;
    }
  }
  float logSum() const { return token < 0 ? -infinity : highest + float(__builtin_log(double(sum))); }
};

struct alignas(64) Summaries {
  Summary text, timestamps;
};

/** The row of state that entry b works on; -1 where it is idle. */
inline int64_t stateRow(const NextTokenArguments& a, int64_t b) {
  if (!a.rows) return b;
  const int64_t row = a.rows[b];
  return row >= 0 && row < a.pool ? row : -1;
}

/** A sequence's way of drawing; inverse 0: the likeliest token. */
struct Draw {
  float inverse = 0;
  uint32_t key = 0;

  Draw(const NextTokenArguments& a, int64_t row) {
    if (!a.temperature || !(a.temperature[row] > 0)) return;
    inverse = 1 / a.temperature[row];
    key = noiseKey(a.seed[row], a.length[row] - a.begin[row]);
  }

  /** Of logits [begin, end), of which summary.token is the highest. */
  void run(const float* logits, int64_t begin, int64_t end, Summary& summary) const {
    if (inverse == 0) {
      summary.drawnScore = summary.drawnLogit = summary.highest;
      summary.drawn = summary.token;
      return;
    }
    auto consider = [&](int64_t i) {
      const float score = logits[i] * inverse + gumbelNoise(key, i);
      if (score < summary.drawnScore || (score == summary.drawnScore && i > summary.drawn)) return;
      summary.drawnScore = score;
      summary.drawnLogit = logits[i];
      summary.drawn = i;
    };
    consider(summary.token);
    int64_t i = begin;
    for (; i + vectorWidth <= end;
         i += vectorWidth) {  // two logarithms are spent only on those that the noise can lift
      const F most = load(logits + i) * splat(inverse) + splat(mostNoise);
      if (largest(most) < summary.drawnScore) continue;
      for (int j = 0; j < vectorWidth; ++j)
        if (most[j] >= summary.drawnScore) consider(i + j);
    }
    for (; i < end; ++i)
      if (logits[i] * inverse + mostNoise >= summary.drawnScore) consider(i);
  }
};

/** Filters logits [begin, end), at most blockLogits of them, by the suppressed bits and summarises them. */
Summary summarise(float* logits, const uint8_t* suppressed, uint8_t bits, int64_t begin, int64_t end,
                  const Draw& draw) {
  F highest = splat(-infinity);
  int64_t i = begin;
  for (; i + vectorWidth <= end; i += vectorWidth) {
    F value = load(logits + i);
    I flags;
    for (int j = 0; j < vectorWidth; ++j) flags[j] = suppressed[i + j];
    value = (flags & splatInteger(bits)) == I{} ? value : splat(-infinity);
    value = value == value ? value : splat(-infinity);
    store(logits + i, value);
    highest = larger(highest, value);
  }
  Summary summary;
  float top = largest(highest);
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
  draw.run(logits, begin, end, summary);
  return summary;
}

void forbid(float* logits, TokenRange range, const Share& share) {
  for (int64_t i = larger(range.begin, share.begin); i < smaller(range.end, share.end); ++i) logits[i] = -infinity;
}

/** Repetition penalty and forbidden n-grams of the sequence on this row, in this thread's share. */
void discourage(const NextTokenArguments& a, int64_t row, float* logits, const Share& share) {
  const int64_t generated = int64_t(a.length[row]) - a.begin[row];
  const int32_t* tokens = a.tokens + row * a.capacity + a.begin[row];
  auto mine = [&](int32_t token) { return token >= share.begin && token < share.end && !isTimestamp(a, token); };
  if (a.repetitionPenalty && a.repetitionPenalty[row] != 1) {
    for (int64_t i = 0; i < generated; ++i) {
      if (!mine(tokens[i])) continue;
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
    if (same && mine(tokens[i + size - 1])) logits[tokens[i + size - 1]] = -infinity;
  }
}

/** One thread's part: filters its share of the logits of entry b, whose sequence is on this row. */
Summaries filterShare(const NextTokenArguments& a, int64_t b, int64_t row, const Share& share) {
  Summaries mine;
  float* logits = a.logits + b * a.vocabulary;
  discourage(a, row, logits, share);
  const ForbiddenTokens forbidden = forbiddenTokens(a, row);
  for (int i = 0; i < forbidden.count; ++i) forbid(logits, forbidden.ranges[i], share);
  const Draw draw(a, row);
  const uint8_t* suppressed = a.suppressed + row * a.suppressedStride;
  for (int64_t i = share.begin; i < share.end;) {
    const bool text = !isTimestamp(a, i);
    const int64_t kindEnd = i < a.timestampBegin ? a.timestampBegin : text ? a.vocabulary : a.timestampEnd;
    const int64_t end = smaller(smaller(i + blockLogits, share.end), kindEnd);
    const Summary part = summarise(logits, suppressed, forbidden.suppressedBits, i, end, draw);
    (text ? mine.text : mine.timestamps).include(part);
    i = end;
  }
  return mine;
}

/**
 * What may come next in entry b: all threads' shares (a row of `threads` summaries) joined, and text forbidden where
 * timestamps are likelier. Every thread calls it and gets the same.
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

/** The `count` highest of a filtered row, highest first, the lower token first among equals; token -1 where none is. */
void rank(const float* logits, int64_t vocabulary, int64_t count, Ranked* found) {
  for (int64_t i = 0; i < count; ++i) found[i] = {-infinity, -1};
  auto insert = [&](int64_t token) {
    const float logit = logits[token];
    if (!(logit > found[count - 1].logit)) return;
    int64_t place = count - 1;
    for (; place > 0 && found[place - 1].logit < logit; --place) found[place] = found[place - 1];
    found[place] = {logit, int32_t(token)};
  };
  int64_t i = 0;
  for (; i + vectorWidth <= vocabulary; i += vectorWidth) {
    if (!(largest(load(logits + i)) > found[count - 1].logit)) continue;
    for (int j = 0; j < vectorWidth; ++j) insert(i + j);
  }
  for (; i < vocabulary; ++i) insert(i);
}

/** How many of the likeliest tokens are wanted of the sequence on this row. */
int64_t topOf(const NextTokenArguments& a, int64_t row) {
  return a.topCount ? smaller(larger(int64_t(a.topCount[row]), 0), a.top) : a.top;
}

/** The likeliest tokens of the sequence on this row to their place; of those behind the ones wanted there are none. */
void writeTop(const NextTokenArguments& a, int64_t row, int64_t place, const Ranked* ranked, float logSum) {
  const int64_t wanted = topOf(a, row);
  if (wanted == 0 || place < 0 || place >= a.capacity) return;
  const int64_t to = (row * a.capacity + place) * a.top;
  for (int64_t i = 0; i < a.top; ++i) {
    const bool there = i < wanted && ranked[i].token >= 0;
    a.topTokens[to + i] = there ? ranked[i].token : -1;
    a.topLogProbability[to + i] = there ? ranked[i].logit - logSum : -infinity;
  }
}

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
