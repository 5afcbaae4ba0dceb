// nextToken: random states against the rules written out token by token, as transformers' processors are.
#include <algorithm>

#include "checking.h"

using onehead::cpu::NextToken;

namespace {

bool isTime(const NextToken& a, int64_t token) { return token >= a.timestampBegin && token < a.timestampEnd; }

struct Choice {
  int32_t token;
  double logProbability;
};

/** One sequence's choice; `logits` are filtered in place. */
Choice choose(const NextToken& a, int64_t b, std::vector<double>& logits) {
  const int64_t n = a.length[b] - a.begin[b];
  const std::vector<int32_t> s(a.tokens + b * a.capacity + a.begin[b], a.tokens + b * a.capacity + a.length[b]);
  auto forbid = [&](int64_t token) { logits[size_t(token)] = -INFINITY; };
  for (int64_t i = 0; i < a.vocabulary; ++i) {
    if (std::isnan(logits[size_t(i)])) forbid(i);
    if (a.suppressed[i] & 1) forbid(i);
    if (n == 0 && a.suppressed[i] & 2) forbid(i);
    if (n < a.minimum[b] && i == a.endToken) forbid(i);
  }
  if (a.timestamps[b]) {
    forbid(a.noTimestampsToken);
    const bool last = n >= 1 && isTime(a, s[size_t(n - 1)]);
    const bool penultimate = n < 2 || isTime(a, s[size_t(n - 2)]);
    std::vector<int32_t> times;
    for (int32_t token : s)
      if (isTime(a, token)) times.push_back(token);
    for (int64_t i = 0; i < a.vocabulary; ++i) {
      if (last && penultimate && isTime(a, i)) forbid(i);
      if (last && !penultimate && (i < a.endToken || i >= a.timestampEnd)) forbid(i);
      if (!times.empty() && isTime(a, i) && i < times.back() + (last && !penultimate ? 0 : 1)) forbid(i);
      if (n == 0 && !isTime(a, i)) forbid(i);
      if (n == 0 && a.maxInitialTimestamp >= 0 && i > a.timestampBegin + a.maxInitialTimestamp) forbid(i);
    }
    double sum = 0, text = -INFINITY;
    for (int64_t i = 0; i < a.vocabulary; ++i) {
      if (isTime(a, i)) sum += std::exp(logits[size_t(i)]);
      if (!isTime(a, i)) text = std::max(text, logits[size_t(i)]);
    }
    if (std::log(sum) > text)
      for (int64_t i = 0; i < a.vocabulary; ++i)
        if (!isTime(a, i)) forbid(i);
  }
  const auto best = std::max_element(logits.begin(), logits.end());
  if (*best == -INFINITY) return {a.endToken, -INFINITY};
  double total = 0;
  for (double logit : logits) total += std::exp(logit - *best);
  return {int32_t(best - logits.begin()), -std::log(total)};
}

void check(const Kernels& kernels, ThreadTeam& team, int threads, int64_t batch, int64_t vocabulary, Random& random) {
  const int64_t capacity = 12;
  Buffer logits(Format::float32, batch * vocabulary, random, 3), scores(Format::float32, batch * capacity);
  std::vector<uint8_t> suppressed(static_cast<size_t>(vocabulary));
  for (uint8_t& flags : suppressed) flags = uint8_t(random.below(8) ? 0 : random.below(4));
  const int32_t timestampBegin = int32_t(vocabulary - random.below(vocabulary / 2));
  const int32_t timestampEnd =
      int32_t(vocabulary - (random.below(2) ? random.below(vocabulary - timestampBegin + 1) : 0));
  const int32_t endToken = timestampBegin * 3 / 4, noTimestamps = std::max(timestampBegin - 1, endToken + 1);
  std::vector<int32_t> tokens(size_t(batch * capacity)), length, begin, minimum, maximum, timestamps, finished;
  for (int64_t b = 0; b < batch; ++b) {
    begin.push_back(int32_t(1 + random.below(4)));
    length.push_back(begin.back() + int32_t(random.below(capacity - begin.back())));
    minimum.push_back(int32_t(random.below(3)));
    maximum.push_back(int32_t(1 + random.below(9)));
    timestamps.push_back(random.below(4) != 0);
    finished.push_back(random.below(6) == 0);
    for (int64_t i = 0; i < capacity; ++i)
      tokens[size_t(b * capacity + i)] = int32_t(
          random.below(2) ? random.below(timestampBegin) : std::min(timestampBegin + random.below(8), vocabulary - 1));
    const int64_t kind = random.below(8);
    for (int64_t i = 0; i < vocabulary; ++i) {
      if (kind == 0 && random.below(3) == 0) logits.set(b * vocabulary + i, NAN);
      if (kind == 1) logits.set(b * vocabulary + i, -INFINITY);
      if (kind == 2) logits.set(b * vocabulary + i, float(random.below(3)));  // many ties
      if (kind == 3 && i >= timestampBegin) logits.set(b * vocabulary + i, float(logits[b * vocabulary + i] + 4));
    }
  }
  NextToken a = {batch,
                 vocabulary,
                 capacity,
                 logits.floats(),
                 suppressed.data(),
                 endToken,
                 timestampBegin,
                 timestampEnd,
                 noTimestamps,
                 random.below(2) ? int32_t(random.below(9)) : -1,
                 tokens.data(),
                 scores.floats(),
                 length.data(),
                 begin.data(),
                 minimum.data(),
                 maximum.data(),
                 timestamps.data(),
                 finished.data(),
                 nullptr};
  Buffer scratch = scratchOf(onehead::cpu::nextTokenScratch(batch, threads));
  a.scratch = scratch.data();

  std::vector<Choice> wanted;
  std::vector<std::vector<double>> filtered;
  for (int64_t b = 0; b < batch; ++b) {
    std::vector<double> row;
    for (int64_t i = 0; i < vocabulary; ++i) row.push_back(logits[b * vocabulary + i]);
    wanted.push_back(choose(a, b, row));
    filtered.push_back(row);
  }
  const auto before = length, done = finished;
  const auto tokensBefore = tokens;
  team.run([&](const onehead::cpu::Team& member) { kernels.nextToken(a, member); });
  for (size_t b = 0; b < size_t(batch); ++b) {
    const int64_t place = int64_t(b) * capacity + before[b];
    if (done[b]) {
      expect(length[b] == before[b] && tokens[size_t(place)] == tokensBefore[size_t(place)],
             "nextToken %s: finished changed", kernels.name);
      continue;
    }
    bool good = length[b] == before[b] + 1 && tokens[size_t(place)] == wanted[b].token;
    const double score = scores[place];
    good = good && (wanted[b].logProbability == score || std::fabs(wanted[b].logProbability - score) < 2e-5);
    const bool over = wanted[b].token == endToken || length[b] - begin[b] >= maximum[b] || length[b] == capacity;
    good = good && finished[b] == (over ? 1 : 0);
    for (int64_t i = 0; i < vocabulary; ++i)
      good = good && logits[int64_t(b) * vocabulary + i] == filtered[b][size_t(i)];
    expect(good && logits.intact() && scores.intact() && scratch.intact(),
           "nextToken %s x%d vocabulary %ld sequence %zu: token %d, wanted %d; log-probability %g, wanted %g",
           kernels.name, threads, long(vocabulary), b, tokens[size_t(place)], wanted[b].token, score,
           wanted[b].logProbability);
  }
}

}  // namespace

void checkNextToken(const Kernels& kernels, ThreadTeam& team, int threads) {
  Random random(uint64_t(threads) + 200);
  for (int i = 0; i < 150; ++i) check(kernels, team, threads, 1 + random.below(5), 16 + random.below(300), random);
  check(kernels, team, threads, 3, 51865, random);
}
