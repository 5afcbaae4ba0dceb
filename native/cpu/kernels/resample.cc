// Resampling: an output is a product of consecutive samples with a filter, or lies between the products with two.
//
// Several outputs are computed side by side, so that there are enough independent sums. The lanes of each are added in
// the same order wherever it is among them, so its value depends neither on the others nor on addresses.
#include "family.h"
#include "vector.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

/** Outputs whose sums stay in registers. */
template <bool interpolated>
constexpr int tileOutputs = interpolated&& vectorWidth < 16 ? 4 : 8;
/** Outputs of a step: whole tiles, and whole vectors of results. */
constexpr int stepOutputs = vectorWidth < 8 ? 8 : vectorWidth;

/** The first `count` samples, a multiple of 4 below vectorWidth; the others are zero and are not read. */
inline F loadFours(const float* p, int64_t count) {
  if constexpr (vectorWidth == 8) {
    F value = {};
    __builtin_memcpy(&value, p, 4 * sizeof(float));
    return value;
  } else {
    return loadPart(p, count);
  }
}

/** The place of an output: its first sample, and its distance behind the sample before it in units of 1 / to. */
struct Place {
  int64_t whole, behind;
};

/** The sums of `outputs` outputs, one in the lanes of each vector. */
template <bool interpolated, int outputs>
inline void tile(const Resampling& r, const Place* places, F* sums) {
  const float *samples[outputs], *filters[outputs];
  F fractions[outputs], lower[outputs] = {}, upper[outputs] = {};
  for (int o = 0; o < outputs; ++o) {
    const auto [whole, behind] = places[o];
    samples[o] = r.samples + whole;
    if constexpr (interpolated) {
      filters[o] = r.filters + behind * r.phases / r.to * r.stride;
      fractions[o] = splat(float(behind * r.phases % r.to) / float(r.to));
    } else {
      filters[o] = r.filters + behind * r.stride;
    }
  }
  const auto add = [&](int64_t tap, auto load4) __attribute__((always_inline)) {
    ONEHEAD_UNROLL(8)
    for (int o = 0; o < outputs; ++o) {
      const F values = load4(samples[o] + tap);
      lower[o] = fused(values, load(filters[o] + tap), lower[o]);
      if constexpr (interpolated) upper[o] = fused(values, load(filters[o] + r.stride + tap), upper[o]);
    }
  };
  int64_t tap = 0;
  for (; tap + vectorWidth <= r.taps; tap += vectorWidth)
    add(
        tap, [](const float* p) __attribute__((always_inline)) { return load(p); });
  if (const int64_t rest = r.taps - tap; rest > 0)
    add(
        tap, [rest](const float* p) __attribute__((always_inline)) { return loadFours(p, rest); });
  for (int o = 0; o < outputs; ++o)
    sums[o] = interpolated ? fused(upper[o] - lower[o], fractions[o], lower[o]) : lower[o];
}

template <bool interpolated>
void resampleAll(const Resampling& r) {
  constexpr int outputs = tileOutputs<interpolated>;
  const int64_t step = r.from / r.to, rest = r.from % r.to;
  Place next = {r.whole, r.behind};
  for (int64_t done = 0; done < r.count; done += stepOutputs) {
    const int64_t count = min(stepOutputs, r.count - done);
    Place places[stepOutputs];
    for (int64_t o = 0; o < stepOutputs; ++o) {
      places[o] = o < count ? next : places[o - 1];  // the last output again in the place of missing ones
      if (o >= count) continue;
      next.whole += step;
      next.behind += rest;
      if (next.behind >= r.to) {
        next.behind -= r.to;
        next.whole += 1;
      }
    }
    F sums[stepOutputs];
    for (int64_t o = 0; o < stepOutputs; o += outputs) tile<interpolated, outputs>(r, places + o, sums + o);
    for (int64_t o = 0; o < count; o += vectorWidth) {
      const F results = sumRows(sums + o);
      if (o + vectorWidth <= count)
        store(r.output + done + o, results);
      else
        storePart(r.output + done + o, results, count - o);
    }
  }
}

}  // namespace

void resample(const Resampling& r) { r.interpolated ? resampleAll<true>(r) : resampleAll<false>(r); }

}  // namespace onehead::cpu::ONEHEAD_ISA
