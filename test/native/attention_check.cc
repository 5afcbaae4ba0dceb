// The three attention algorithms: causal and not, appending or not, grouped heads, ragged sizes.
#include "checking.h"

using onehead::cpu::Attention;
using onehead::cpu::AttentionAlgorithm;

namespace {

struct Case {
  AttentionAlgorithm algorithm;
  Format format;
  int64_t batch, queries, keys, heads, keyValueHeads, headSize;
  bool causal, append;
};

std::vector<double> reference(const Case& c, const Buffer& q, const Buffer& k, const Buffer& v, int64_t qRow,
                              int64_t kRow, int64_t length, const std::vector<int32_t>& start, double scale) {
  std::vector<double> y(size_t(c.batch * c.queries * c.heads * c.headSize));
  for (int64_t b = 0; b < c.batch; ++b)
    for (int64_t i = 0; i < c.queries; ++i)
      for (int64_t h = 0; h < c.heads; ++h) {
        const int64_t seen = c.causal ? std::min<int64_t>(start[size_t(b)] + i + 1, c.keys) : c.keys;
        const int64_t source = h * c.keyValueHeads / c.heads * c.headSize;
        std::vector<double> weights;
        double highest = -1e300, total = 0;
        for (int64_t j = 0; j < seen; ++j) {
          double score = 0;
          for (int64_t d = 0; d < c.headSize; ++d)
            score += q[(b * c.queries + i) * qRow + h * c.headSize + d] * k[(b * length + j) * kRow + source + d];
          weights.push_back(score * scale);
          highest = std::max(highest, score * scale);
        }
        for (double& weight : weights) total += weight = std::exp(weight - highest);
        for (int64_t j = 0; j < seen; ++j)
          for (int64_t d = 0; d < c.headSize; ++d)
            y[size_t(((b * c.queries + i) * c.heads + h) * c.headSize + d)] +=
                weights[size_t(j)] / total * v[(b * length + j) * kRow + source + d];
      }
  return y;
}

void check(const Kernels& kernels, ThreadTeam& team, int threads, const Case& c, Random& random) {
  const int64_t width = c.keyValueHeads * c.headSize;
  const int64_t qRow = c.heads * c.headSize + random.below(2) * 24, kRow = width + random.below(2) * 8;
  const int64_t length = c.keys + random.below(3);
  std::vector<int32_t> start;
  for (int64_t b = 0; b < c.batch; ++b) start.push_back(int32_t(random.below(c.keys - c.queries + 1)));
  Buffer q(c.format, c.batch * c.queries * qRow, random, 1.5);
  // What no query may see is poison: NaN behind the keys, and rows that the new ones replace.
  Buffer k(c.format, c.batch * length * kRow), v(c.format, c.batch * length * kRow);
  Buffer newKey(c.format, c.batch * c.queries * width, random), newValue(c.format, c.batch * c.queries * width, random);
  for (int64_t b = 0; b < c.batch; ++b) {
    const int64_t there = c.append ? start[size_t(b)] : c.causal ? start[size_t(b)] + c.queries : c.keys;
    for (int64_t j = 0; j < std::min(there, c.keys); ++j)
      for (int64_t d = 0; d < width; ++d) {
        k.set((b * length + j) * kRow + d, float(random.normal()));
        v.set((b * length + j) * kRow + d, float(random.normal()));
      }
  }
  Buffer fullK(k), fullV(v);
  if (c.append)
    for (int64_t b = 0; b < c.batch; ++b)
      for (int64_t i = 0; i < c.queries; ++i)
        for (int64_t d = 0; d < width; ++d) {
          const int64_t to = (b * length + start[size_t(b)] + i) * kRow + d, from = (b * c.queries + i) * width + d;
          fullK.set(to, float(newKey[from]));
          fullV.set(to, float(newValue[from]));
        }
  const double scale = 1 / std::sqrt(double(c.headSize));
  const auto wanted = reference(c, q, fullK, fullV, qRow, kRow, length, start, scale);

  Buffer y(c.format, c.batch * c.queries * c.heads * c.headSize);
  Attention a = {c.batch,
                 c.queries,
                 c.keys,
                 c.heads,
                 c.keyValueHeads,
                 c.headSize,
                 c.format,
                 {q.data(), c.queries * qRow, qRow},
                 {k.data(), length * kRow, kRow},
                 {v.data(), length * kRow, kRow},
                 c.causal,
                 c.causal ? start.data() : nullptr,
                 c.append ? newKey.data() : nullptr,
                 c.append ? newValue.data() : nullptr,
                 c.queries * width,
                 width,
                 float(scale),
                 y.data(),
                 nullptr};
  Buffer scratch = scratchOf(onehead::cpu::attentionScratch(a, c.algorithm, threads));
  a.scratch = scratch.data();
  team.run([&](const onehead::cpu::Team& member) { kernels.attention(a, c.algorithm, member); });
  const double error = relativeError(y, wanted), limit = c.format == Format::float32 ? 2e-6 : 6e-3;
  bool appended = true;
  if (c.append)
    for (int64_t b = 0; b < c.batch; ++b)
      for (int64_t i = 0; i < c.queries * kRow; ++i) {
        if (i % kRow >= width) continue;
        const int64_t at = (b * length + start[size_t(b)]) * kRow + i;
        appended = appended && k[at] == fullK[at] && v[at] == fullV[at];
      }
  expect(error <= limit && y.intact() && k.intact() && v.intact() && scratch.intact() && appended,
         "attention %s algorithm %d x%d %s batch %ld queries %ld keys %ld heads %ld/%ld size %ld causal %d append %d: "
         "error %g limit %g appended %d",
         kernels.name, int(c.algorithm), threads, nameOf(c.format), long(c.batch), long(c.queries), long(c.keys),
         long(c.heads), long(c.keyValueHeads), long(c.headSize), c.causal, c.append, error, limit, appended);
}

}  // namespace

void checkAttention(const Kernels& kernels, ThreadTeam& team, int threads) {
  Random random(uint64_t(threads) + 100);
  const int64_t headSizes[] = {8, 16, 24, 33, 40, 64, 64, 64, 80, 128, 256};
  const int64_t manyHeads[] = {1, 2, 3, 6, 8, 12, 20};
  const int64_t manyQueries[] = {1, 1, 2, 5, 16, 17, 48, 49, 100};
  for (AttentionAlgorithm algorithm :
       {AttentionAlgorithm::multiHead, AttentionAlgorithm::memoryEfficient, AttentionAlgorithm::splitKeyValue}) {
    for (Format format : {Format::float32, Format::bfloat16}) {
      for (int i = 0; i < 40; ++i) {
        Case c = {algorithm,
                  format,
                  1 + random.below(3),
                  manyQueries[random.below(9)],
                  0,
                  manyHeads[random.below(7)],
                  1,
                  headSizes[random.below(11)],
                  random.below(2) == 0,
                  false};
        if (algorithm == AttentionAlgorithm::splitKeyValue) c.queries = 1 + random.below(random.below(2) ? 1 : 6);
        c.keys = c.queries + random.below(random.below(2) ? 20 : 200);
        c.append = c.causal && random.below(2) == 0;
        const int64_t kind = random.below(3);
        c.keyValueHeads = kind == 0 ? 1 : kind == 1 && c.heads % 2 == 0 ? 2 : c.heads;
        check(kernels, team, threads, c, random);
      }
      check(kernels, team, threads, {algorithm, format, 1, 1, 1500, 6, 6, 64, false, false}, random);
      check(kernels, team, threads, {algorithm, format, 1, 100, 1500, 2, 2, 64, false, false}, random);
    }
  }
}
