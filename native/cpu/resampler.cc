#include "resampler.h"

#include <algorithm>
#include <cmath>
#include <list>
#include <mutex>
#include <numeric>

namespace onehead::cpu {

namespace {

/** Zero crossings of the sinc on each side, and the window's shape: about 95 dB of stopband attenuation. */
constexpr double zeroCrossings = 32, kaiserBeta = 9.5;
/** The passband relative to the lower rate's Nyquist frequency; frequencies above would alias. */
constexpr double passband = 0.945;
constexpr double pi = 3.14159265358979323846;
/** Weights of a table, 256 KiB. Larger ones would not stay in a core's cache, so they interpolate between phases. */
constexpr int64_t maxTable = 1 << 16;
/** Phases between which is interpolated, for each sample of the lower rate: the error is below -110 dB. */
constexpr double interpolatedPhases = 512;

int64_t roundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

/** The modified Bessel function of order 0, for x up to 10. */
double besselI0(double x) {
  double sum = 1, term = 1;
  for (double k = 1; term > 1e-12 * sum; ++k) {
    term *= x / (2 * k) * (x / (2 * k));
    sum += term;
  }
  return sum;
}

/** Weights of the samples for an output `fraction` after the sample at `reach`; they sum to 1. */
void fill(std::vector<double>& weights, int64_t reach, double fraction, double cutoff) {
  for (size_t i = 0; i < weights.size(); ++i) {
    const double distance = double(i) - double(reach) - fraction;
    const double angle = pi * cutoff * distance, position = distance / double(reach + 1);
    const double window = std::abs(position) >= 1 ? 0 : besselI0(kaiserBeta * std::sqrt(1 - position * position));
    weights[i] = (angle == 0 ? 1 : std::sin(angle) / angle) * window;
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= sum;
}

/** Filters of recent ratios, since computing them takes as long as resampling seconds of audio. */
class FilterCache {
 public:
  std::shared_ptr<const Filters> get(int64_t from, int64_t to) {
    if (auto found = find(from, to)) return found;
    // Without the lock, so that a rare ratio does not delay others.
    auto made = std::make_shared<const Filters>(from, to);
    const std::lock_guard lock(mutex_);
    recent_.push_front(made);
    size_ += made->size();
    while (size_ > maxSize) {
      size_ -= recent_.back()->size();
      recent_.pop_back();
    }
    return made;
  }

 private:
  /** Weights held, 4 MiB. */
  static constexpr size_t maxSize = 1 << 20;

  std::shared_ptr<const Filters> find(int64_t from, int64_t to) {
    const std::lock_guard lock(mutex_);
    for (auto at = recent_.begin(); at != recent_.end(); ++at) {
      if ((*at)->from != from || (*at)->to != to) continue;
      recent_.splice(recent_.begin(), recent_, at);
      return recent_.front();
    }
    return nullptr;
  }

  std::mutex mutex_;
  std::list<std::shared_ptr<const Filters>> recent_;
  size_t size_ = 0;
};

FilterCache& cache() {
  static FilterCache& kept = *new FilterCache;  // threads may use it until the process has ended
  return kept;
}

std::shared_ptr<const Filters> filtersOf(int64_t from, int64_t to) {
  const int64_t divisor = std::gcd(from, to);
  return cache().get(from / divisor, to / divisor);
}

}  // namespace

Filters::Filters(int64_t from, int64_t to) : from(from), to(to) {
  const double ratio = std::min(1.0, double(to) / double(from)), cutoff = ratio * passband;
  reach = int64_t(std::ceil(zeroCrossings / cutoff));
  const int64_t used = 2 * reach + 2;
  taps = roundUp(used, Resampling::tapUnit);
  stride = roundUp(taps, Resampling::strideUnit);
  interpolated = to > 1 && to * stride > maxTable;
  phases = interpolated ? int64_t(std::ceil(interpolatedPhases * ratio)) : to;
  weights_.reset(static_cast<float*>(::operator new(size() * sizeof(float), std::align_val_t(64))));
  std::fill_n(weights_.get(), size(), 0.0f);
  const auto row = [&](int64_t phase) { return weights_.get() + phase * stride; };
  std::vector<double> weights;
  for (int64_t phase = 0; phase <= phases / 2; ++phase) {
    weights.resize(size_t(used));
    fill(weights, reach, double(phase) / double(phases), cutoff);
    std::copy(weights.begin(), weights.end(), row(phase));
    // The filters are symmetric in time.
    if (phase > 0 || interpolated) std::copy(weights.rbegin(), weights.rend(), row(phases - phase));
  }
}

Resampler::Resampler(int64_t from, int64_t to, const Kernels& kernels)
    : kernel_(kernels.resample),
      filters_(filtersOf(from, to)),
      block_(std::max(int64_t(4096), filters_->taps)),
      held_(size_t(filters_->taps + block_)),
      count_(filters_->reach) {}  // silence before the first sample

int64_t Resampler::outputs(int64_t count) const {
  const int64_t beyond = count_ + count - filters_->taps - next_;  // samples after those of the next output
  if (beyond < 0) return 0;
  return ((beyond + 1) * filters_->to - behind_ + filters_->from - 1) / filters_->from;
}

int64_t Resampler::remaining() const {
  const int64_t from = filters_->from, to = filters_->to;
  // From the next output to the end, in units of 1 / to of a sample.
  const int64_t distance = (count_ - next_ - filters_->reach) * to - behind_;
  return std::max(int64_t(0), (2 * distance + from) / (2 * from));
}

void Resampler::append(const float* samples, int64_t count) {
  if (samples)
    std::copy_n(samples, count, held_.begin() + count_);
  else
    std::fill_n(held_.begin() + count_, count, 0.0f);
  count_ += count;
}

void Resampler::produce(int64_t count, float* output) {
  const Filters& f = *filters_;
  if (count > 0) {
    kernel_({f.from, f.to, f.weights(), f.phases, f.taps, f.stride, f.interpolated, held_.data(), next_, behind_, count,
             output});
    const int64_t moved = behind_ + count * f.from;
    next_ += moved / f.to;
    behind_ = moved % f.to;
  }
  const int64_t passed = std::min(next_, count_);
  std::copy(held_.begin() + passed, held_.begin() + count_, held_.begin());
  count_ -= passed;
  next_ -= passed;
}

void Resampler::push(const float* samples, int64_t count, float* output) {
  for (int64_t done = 0; done < count; done += block_) {
    const int64_t taken = std::min(block_, count - done), ready = outputs(taken);
    append(samples + done, taken);
    produce(ready, output);
    output += ready;
  }
}

void Resampler::finish(float* output) {
  for (int64_t left = remaining(); left > 0;) {
    append(nullptr, block_);
    const int64_t ready = std::min(left, outputs(0));
    produce(ready, output);
    output += ready;
    left -= ready;
  }
}

}  // namespace onehead::cpu
