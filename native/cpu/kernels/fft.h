// Power spectrum of vectorWidth real signals at once, one per lane.
//
// An even size N is packed as N / 2 complex numbers and transformed with Stockham's self-sorting mixed-radix algorithm,
// with special butterflies for radices 2, 3, 4 and 5 (400 = 2 * 4 * 2 * 5 * 5), and a plain sum for other primes.
#pragma once

#include "vector.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

struct Complex {
  F re, im;
};
static inline Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
static inline Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
static inline Complex operator*(float s, Complex a) { return {splat(s) * a.re, splat(s) * a.im}; }
static inline Complex timesMinusI(Complex a) { return {a.im, -a.re}; }

/** cos and -sin of 2 pi i / N for i < N. */
struct Roots {
  const float* cosines;
  const float* sines;
  int64_t count;

  Complex times(Complex a, int64_t i) const {
    const F c = splat(cosines[i]), s = splat(sines[i]);
    return {a.re * c - a.im * s, a.re * s + a.im * c};
  }
};

[[maybe_unused]] static void fillRoots(int64_t count, float* cosines, float* sines) {
  for (int64_t i = 0; i < count; ++i) {
    const double angle = 6.283185307179586476925 * double(i) / double(count);
    cosines[i] = float(__builtin_cos(angle));
    sines[i] = float(-__builtin_sin(angle));
  }
}

static inline void butterfly2(const Complex* x, int64_t step, Complex (&y)[2]) {
  y[0] = x[0] + x[step];
  y[1] = x[0] - x[step];
}
static inline void butterfly3(const Complex* x, int64_t step, Complex (&y)[3]) {
  const Complex sum = x[step] + x[2 * step], difference = 0.866025403784438647f * timesMinusI(x[step] - x[2 * step]);
  y[0] = x[0] + sum;
  const Complex middle = x[0] - 0.5f * sum;
  y[1] = middle + difference;
  y[2] = middle - difference;
}
static inline void butterfly4(const Complex* x, int64_t step, Complex (&y)[4]) {
  const Complex a = x[0] + x[2 * step], b = x[0] - x[2 * step];
  const Complex c = x[step] + x[3 * step], d = timesMinusI(x[step] - x[3 * step]);
  y[0] = a + c;
  y[1] = b + d;
  y[2] = a - c;
  y[3] = b - d;
}
static inline void butterfly5(const Complex* x, int64_t step, Complex (&y)[5]) {
  const float c1 = 0.309016994374947424f, c2 = -0.809016994374947424f;  // cos(2 pi / 5), cos(4 pi / 5)
  const float s1 = 0.951056516295153572f, s2 = 0.587785252292473129f;   // sin(2 pi / 5), sin(4 pi / 5)
  const Complex a = x[step] + x[4 * step], b = x[2 * step] + x[3 * step];
  const Complex c = timesMinusI(x[step] - x[4 * step]), d = timesMinusI(x[2 * step] - x[3 * step]);
  y[0] = x[0] + a + b;
  const Complex p = x[0] + c1 * a + c2 * b, q = x[0] + c2 * a + c1 * b;
  const Complex r = s1 * c + s2 * d, t = s2 * c - s1 * d;
  y[1] = p + r;
  y[2] = q + t;
  y[3] = q - t;
  y[4] = p - r;
}

/** One stage: `count` is the remaining size, `stride` the number of interleaved transforms. */
template <int64_t radix, void (*butterfly)(const Complex*, int64_t, Complex (&)[radix])>
static void stage(const Complex* x, Complex* y, int64_t count, int64_t stride, const Roots& roots) {
  const int64_t parts = count / radix;
  for (int64_t p = 0; p < parts; ++p) {
    const int64_t turn = p * (roots.count / count);
    for (int64_t q = 0; q < stride; ++q) {
      Complex out[radix];
      butterfly(x + q + stride * p, stride * parts, out);
      Complex* to = y + q + stride * radix * p;
      to[0] = out[0];
      ONEHEAD_UNROLL(5)
      for (int64_t k = 1; k < radix; ++k) to[k * stride] = roots.times(out[k], turn * k);
    }
  }
}
static void generalStage(const Complex* x, Complex* y, int64_t count, int64_t stride, int64_t radix,
                         const Roots& roots) {
  const int64_t parts = count / radix;
  for (int64_t p = 0; p < parts; ++p) {
    for (int64_t k = 0; k < radix; ++k) {
      for (int64_t q = 0; q < stride; ++q) {
        Complex total = {};
        for (int64_t j = 0; j < radix; ++j)
          total = total + roots.times(x[q + stride * (p + parts * j)], j * k % radix * (roots.count / radix));
        y[q + stride * (radix * p + k)] = roots.times(total, p * k * (roots.count / count));
      }
    }
  }
}

/** Transforms `count` numbers in a, with b as a second buffer; returns the one that holds the result. */
static Complex* transform(Complex* a, Complex* b, int64_t count, const Roots& roots) {
  int64_t left = count, stride = 1;
  while (left > 1) {
    int64_t radix = 2;
    if (left % 5 == 0) {
      radix = 5;
      stage<5, butterfly5>(a, b, left, stride, roots);
    } else if (left % 4 == 0) {
      radix = 4;
      stage<4, butterfly4>(a, b, left, stride, roots);
    } else if (left % 3 == 0) {
      radix = 3;
      stage<3, butterfly3>(a, b, left, stride, roots);
    } else if (left % 2 == 0) {
      stage<2, butterfly2>(a, b, left, stride, roots);
    } else {
      for (radix = 7; left % radix != 0;) radix += 2;
      generalStage(a, b, left, stride, radix, roots);
    }
    Complex* other = a;
    a = b;
    b = other;
    left /= radix;
    stride *= radix;
  }
  return a;
}

/** power[k] = |X_k|^2 for k = 0 ... size / 2, of the signals packed in a: a[n] = (x_2n, x_2n+1). */
static void spectrumPower(Complex* a, Complex* b, int64_t size, const Roots& roots, F* power) {
  const int64_t half = size / 2;
  const Complex* z = transform(a, b, half, roots);
  for (int64_t k = 0; k <= half; ++k) {
    const Complex front = z[k == half ? 0 : k], back = z[k == 0 ? 0 : half - k];
    // X_k = ((Z_k + Z*_(half-k)) - i e^(-2 pi i k / size) (Z_k - Z*_(half-k))) / 2
    const Complex even = {front.re + back.re, front.im - back.im};
    const Complex odd = timesMinusI({front.re - back.re, front.im + back.im});
    const Complex turned = roots.times(odd, k);
    const F re = even.re + turned.re, im = even.im + turned.im;
    power[k] = splat(0.25f) * (re * re + im * im);
  }
}

}  // namespace
}  // namespace onehead::cpu::ONEHEAD_ISA
