// Dot products of stored rows with prepared rows, for each storage type and instruction set.
//
// Dot<T>::stepSize elements make one step. Preparing a row of x writes it in the form that step() takes, padded with
// zeros to whole steps. So only the stored row, which must not be read beyond its end, needs special treatment.
#pragma once

#include "vector.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

template <typename T>
struct Dot;

/** For stored rows that are widened to float32. */
template <typename T>
struct WidenedDot {
  static constexpr int stepSize = vectorWidth;
  static constexpr bool paired = false;
  using Prepared = float;
  using Sum = F;
  struct Stored {
    F value;
  };
  static inline Stored read(const T* w) { return {load(w)}; }
  static inline Stored readPart(const T* w, int64_t count) { return {loadPart(w, count)}; }
  static inline F step(Stored w, const float* x, F sums) { return fused(w.value, load(x), sums); }
  /** The index of element i of a row in its prepared form. */
  static inline int64_t preparedIndex(int64_t i) { return i; }
  static inline void write(float* x, float value) { *x = value; }
};

template <>
struct Dot<float> : WidenedDot<float> {};

#if defined(__AVX512BF16__)
template <>
struct Dot<Bf16> {
  static constexpr int stepSize = 2 * vectorWidth;
  static constexpr bool paired = true;
  using Prepared = Bf16;
  using Sum = F;
  struct Stored {
    __m512i pairs;
  };
  static inline Stored read(const Bf16* w) { return {_mm512_loadu_si512(w)}; }
  static inline Stored readPart(const Bf16* w, int64_t count) { return {(__m512i)loadWordsPart(w, count)}; }
  static inline F step(Stored w, const Bf16* x, F sums) {
    return (F)_mm512_dpbf16_ps((__m512)sums, (__m512bh)w.pairs, (__m512bh)_mm512_loadu_si512(x));
  }
  static inline int64_t preparedIndex(int64_t i) { return i; }
  static inline void write(Bf16* x, float value) { put(x, value); }
};
#else
// Two bfloat16 in a word: a shift widens the even one, a mask the odd one. x is split in the same way.
template <>
struct Dot<Bf16> {
  static constexpr int stepSize = 2 * vectorWidth;
  static constexpr bool paired = false;
  using Prepared = float;
  using Sum = F;
  struct Stored {
    F even, odd;
  };
  static inline Stored split(U words) { return {(F)(words << 16), (F)(words & 0xffff0000u)}; }
  static inline Stored read(const Bf16* w) { return split(*(const UnalignedU*)w); }
  static inline Stored readPart(const Bf16* w, int64_t count) { return split(loadWordsPart(w, count)); }
  static inline F step(Stored w, const float* x, F sums) {
    return fused(w.odd, load(x + vectorWidth), fused(w.even, load(x), sums));
  }
  static inline int64_t preparedIndex(int64_t i) {
    return i / stepSize * stepSize + i % 2 * vectorWidth + i % stepSize / 2;
  }
  static inline void write(float* x, float value) { *x = value; }
};
#endif

/** Prepares one row. `map(i)` returns the elements at i as a vector, `mapOne(i)` a single one. */
template <typename T, typename Map, typename MapOne>
static inline void prepareRow(typename Dot<T>::Prepared* prepared, int64_t depth, Map map, MapOne mapOne) {
  constexpr int stepSize = Dot<T>::stepSize;
  int64_t i = 0;
  if constexpr (stepSize == vectorWidth || Dot<T>::paired) {
    for (; i + vectorWidth <= depth; i += vectorWidth) store(prepared + i, map(i));
  } else {
    for (; i + stepSize <= depth; i += stepSize) {
      float straight[stepSize];
      store(straight, map(i));
      store(straight + vectorWidth, map(i + vectorWidth));
      for (int j = 0; j < vectorWidth; ++j) {
        prepared[i + j] = straight[2 * j];
        prepared[i + vectorWidth + j] = straight[2 * j + 1];
      }
    }
  }
  const int64_t padded = roundUp(depth, stepSize);
  for (; i < depth; ++i) Dot<T>::write(prepared + Dot<T>::preparedIndex(i), mapOne(i));
  for (; i < padded; ++i) Dot<T>::write(prepared + Dot<T>::preparedIndex(i), 0.0f);
}

template <typename T, typename Source>
static inline void prepareRow(typename Dot<T>::Prepared* prepared, const Source* x, int64_t depth) {
  prepareRow<T>(
      prepared, depth, [&](int64_t i) { return load(x + i); }, [&](int64_t i) { return get(x + i); });
}

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
