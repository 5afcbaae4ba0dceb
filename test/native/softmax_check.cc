// The softmax between two products: every row length around the vectors' widths, causal and not, in place and not.
#include "checking.h"

using onehead::cpu::Softmax;

namespace {

struct Case {
  Format format;
  int64_t batch, queries, heads, keys;
  bool causal, inPlace;
  double scale;
};

void check(const Kernels& kernels, ThreadTeam& team, int threads, const Case& c, Random& random) {
  const int64_t count = c.batch * c.queries * c.heads * c.keys;
  std::vector<int32_t> start;
  for (int64_t b = 0; b < c.batch; ++b) start.push_back(int32_t(random.below(c.keys - c.queries + 1)));
  Buffer scores(Format::float32, count);  // NaN, which what no query sees stays
  std::vector<double> wanted;
  for (int64_t row = 0; row < c.batch * c.queries * c.heads; ++row) {
    const int64_t query = row / c.heads, b = query / c.queries;
    const int64_t seen = c.causal ? start[size_t(b)] + query % c.queries + 1 : c.keys;
    std::vector<double> weights;
    double highest = -1e300, total = 0;
    for (int64_t j = 0; j < seen; ++j) {
      scores.set(row * c.keys + j, float(random.normal() * 20));
      weights.push_back(scores[row * c.keys + j] * c.scale);
      highest = std::max(highest, weights.back());
    }
    for (double& weight : weights) total += weight = std::exp(weight - highest);
    for (int64_t j = 0; j < c.keys; ++j) wanted.push_back(j < seen ? weights[size_t(j)] / total : 0);
  }
  Buffer apart(c.format, count);
  Buffer& weights = c.inPlace ? scores : apart;
  Softmax a = {c.batch,       c.queries,       c.heads,
               c.keys,        scores.floats(), weights.data(),
               c.format,      c.causal,        c.causal ? start.data() : nullptr,
               float(c.scale)};
  team.run([&](const onehead::cpu::Team& member) { kernels.softmax(a, member); });
  bool zeros = true;  // exactly: NaN may stand where they are multiplied
  for (size_t i = 0; i < wanted.size(); ++i) zeros = zeros && (wanted[i] != 0 || weights[int64_t(i)] == 0);
  const double error = relativeError(weights, wanted), limit = c.format == Format::float32 ? 3e-6 : 4e-3;
  expect(error <= limit && zeros && weights.intact() && scores.intact(),
         "softmax %s x%d %s batch %ld queries %ld heads %ld keys %ld causal %d scale %g: error %g limit %g zeros %d",
         kernels.name, threads, nameOf(c.format), long(c.batch), long(c.queries), long(c.heads), long(c.keys), c.causal,
         c.scale, error, limit, zeros);
}

}  // namespace

void checkSoftmax(const Kernels& kernels, ThreadTeam& team, int threads) {
  Random random(uint64_t(threads) + 150);
  for (Format format : {Format::float32, Format::bfloat16})
    for (bool causal : {false, true}) {
      for (int64_t keys = 1; keys <= 70; ++keys) {
        const int64_t queries = 1 + random.below(std::min<int64_t>(keys, 5));
        const double scale = keys % 9 == 0 ? -0.3 : keys % 2 ? 0.125 : 1;
        const bool inPlace = format == Format::float32 && keys % 3 != 0;
        check(kernels, team, threads,
              {format, 1 + random.below(3), queries, 1 + random.below(6), keys, causal, inPlace, scale}, random);
      }
      check(kernels, team, threads, {format, 2, 3, 8, 1500, causal, false, 0.125}, random);
    }
}
