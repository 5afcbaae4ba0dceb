// A streaming resampler: windowed sinc (Kaiser) in polyphase form.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "kernels.h"

namespace onehead::cpu {

/** The filters of one ratio of rates. Immutable, so resamplers share them. */
class Filters {
 public:
  /** `from` and `to` have no common factor. */
  Filters(int64_t from, int64_t to);

  const int64_t from, to;
  /** Samples on each side of an output that contribute to it. */
  int64_t reach;
  /** See Resampling. `taps` covers 2 * reach + 2 samples. */
  int64_t taps, stride, phases;
  bool interpolated;

  const float* weights() const { return weights_.get(); }
  size_t size() const { return size_t(phases + (interpolated ? 1 : 0)) * size_t(stride); }

 private:
  struct Free {
    void operator()(float* p) const { ::operator delete(p, std::align_val_t(64)); }
  };
  std::unique_ptr<float, Free> weights_;
};

/**
 * Converts samples between integer rates in hertz, piece by piece, without delay: output i is at time i / to. It does
 * not depend on how the input is divided into pieces.
 */
class Resampler {
 public:
  static constexpr int64_t minRate = 1000, maxRate = 768'000;

  Resampler(int64_t from, int64_t to, const Kernels& kernels);

  /** Outputs that `count` more samples complete. */
  int64_t outputs(int64_t count) const;
  /** Writes outputs(count) numbers. */
  void push(const float* samples, int64_t count, float* output);

  /** Outputs that silence after the last sample completes; the total is then round(received * to / from). */
  int64_t remaining() const;
  /** Writes remaining() numbers. Nothing may be pushed afterwards. */
  void finish(float* output);

 private:
  /** Appends at most `block` samples, or silence if null. */
  void append(const float* samples, int64_t count);
  /** Computes the next outputs, and drops samples that are no longer needed. */
  void produce(int64_t count, float* output);

  decltype(Kernels::resample) kernel_;
  std::shared_ptr<const Filters> filters_;
  int64_t block_;
  std::vector<float> held_;
  int64_t count_;  // of samples held
  /** The next output: the index of its first sample, which may not have arrived, and its distance behind. */
  int64_t next_ = 0, behind_ = 0;
};

}  // namespace onehead::cpu
