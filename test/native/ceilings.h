// What this machine can do at most: streaming reads, and multiply-adds that never leave the registers.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels.h"
#include "team.h"

template <typename Job>
double bestSeconds(ThreadTeam& team, Job job) {
  double best = 1e9;
  for (int i = 0; i < 7; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    team.run(job);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

inline std::atomic<int>& sink() {
  static std::atomic<int> all;
  return all;
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) inline int readAll(const char* begin, size_t bytes) {
  __m512i sums[4] = {};
  for (size_t i = 0; i + 256 <= bytes; i += 256) {
    _mm_prefetch(begin + i + 2048, _MM_HINT_T0);
    _mm_prefetch(begin + i + 2112, _MM_HINT_T0);
    _mm_prefetch(begin + i + 2176, _MM_HINT_T0);
    _mm_prefetch(begin + i + 2240, _MM_HINT_T0);
    for (size_t j = 0; j < 4; ++j) sums[j] = _mm512_xor_si512(sums[j], _mm512_loadu_si512(begin + i + 64 * j));
  }
  return _mm512_reduce_add_epi32(
      _mm512_xor_si512(_mm512_xor_si512(sums[0], sums[1]), _mm512_xor_si512(sums[2], sums[3])));
}

__attribute__((target("avx512f"))) inline float multiplyFloat32(int rounds) {
  __m512 sums[16], x = _mm512_set1_ps(0.5f), y = _mm512_set1_ps(0.1f);
  for (int j = 0; j < 16; ++j) sums[j] = _mm512_set1_ps(float(j));
  for (int i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) sums[j] = _mm512_fmadd_ps(sums[j], x, y);
  }
  float total = 0;
  for (__m512 sum : sums) total += _mm512_reduce_add_ps(sum);
  return total;
}

__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16"))) inline float multiplyBfloat16(int rounds) {
  __m512 sums[16], x = _mm512_set1_ps(0.5f), y = _mm512_set1_ps(0.1f);
  for (int j = 0; j < 16; ++j) sums[j] = _mm512_set1_ps(float(j));
  for (int i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) sums[j] = _mm512_dpbf16_ps(sums[j], (__m512bh)x, (__m512bh)y);
  }
  float total = 0;
  for (__m512 sum : sums) total += _mm512_reduce_add_ps(sum);
  return total;
}
#endif

/** Each thread reads its share once. */
inline void readShare(const onehead::cpu::Team& member, const char* data, size_t bytes) {
  const onehead::cpu::Share share(int64_t(bytes / 256), member);
#if defined(__x86_64__)
  if (onehead::cpu::kernels("avx512")) {
    sink() += readAll(data + share.begin * 256, size_t(share.end - share.begin) * 256);
    return;
  }
#endif
  int total = 0;
  for (int64_t i = share.begin * 256; i < share.end * 256; ++i) total += data[i];
  sink() += total;
}

/** Bytes a second at best. */
inline double readBandwidth(ThreadTeam& team, const char* data, size_t bytes) {
  return double(bytes) / bestSeconds(team, [&](const onehead::cpu::Team& member) { readShare(member, data, bytes); });
}

/** Operations a second of the whole team, a multiply-add counted as two; 1e9 where it is not measured. */
inline double peakRate(ThreadTeam& team, int threads, bool bfloat16) {
#if defined(__x86_64__)
  constexpr int kRounds = 1000000;
  if (onehead::cpu::kernels(bfloat16 ? "avx512-bf16" : "avx512"))
    return 16.0 * kRounds * (bfloat16 ? 64 : 32) * threads / bestSeconds(team, [&](const onehead::cpu::Team&) {
             sink() += int(bfloat16 ? multiplyBfloat16(kRounds) : multiplyFloat32(kRounds));
           });
#endif
  return 1e9;
}
