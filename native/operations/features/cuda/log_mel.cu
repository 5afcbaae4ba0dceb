// Whisper's log-mel features: windowing, power spectrum, mel filters, logarithm, and the floor 8 below the peak.
//
// Shapes  samples [batch, (frames - 1) hop + size] -> features [batch, mels, frames]; peak [batch] is raised
// Launch  logMelKernel: grid (groups of 16 frames, batch), 128 threads; shared memory: folded samples and power of 16
//         frames, and a table of sines and cosines, 41 KB for a size of 400. floorKernel: one element per thread
// Bytes   the samples once (1.9 MB for 30 s), the features twice
// Work    a transform of 400 real samples is not a power of two, and 3,000 of them are few. So it is computed as a
//         product, made four times smaller by symmetry: x[n] + x[N-n] is multiplied by cosines, x[n] - x[N-n] by sines,
//         and bins k and N/2 - k differ only in the sign of odd n, so both come from the same sums. That leaves 40,000
//         multiply-adds per frame, 0.12 billion per window.
// Method  a block has 16 frames, and a thread a pair of bins, so each table entry serves 16 frames. The maximum goes to
//         peak[b] with an atomic operation; a second kernel applies the floor.
//
// History
//   Passed its tests on an H200 (commit 1dabc91); its time was never measured, and nothing else was tried there.
#include "cuda/kernels/numeric.h"

namespace onehead::cuda {

namespace {

constexpr int threads = 128;
constexpr int framesPerBlock = int(logMelBlockFrames);

/** Floats of one of the folded sums, the differences and the power in shared memory: [N/2 + 1][16]. */
__host__ __device__ inline int64_t foldedSize(int64_t fftSize) { return (fftSize / 2 + 1) * framesPerBlock; }

__device__ inline void raiseAtomically(float* peak, float value) {
  // Positive floats order like integers, negative ones in reverse.
  if (value >= 0)
    atomicMax(reinterpret_cast<int*>(peak), __float_as_int(value));
  else
    atomicMin(reinterpret_cast<unsigned*>(peak), unsigned(__float_as_int(value)));
}

__global__ void __launch_bounds__(threads) logMelKernel(const __grid_constant__ LogMelArguments l) {
  ONEHEAD_SHARED(float, shared);
  const int thread = int(threadIdx.x), size = int(l.fftSize), half = size / 2, bins = half + 1;
  float *plus = shared, *minus = plus + foldedSize(size), *power = minus + foldedSize(size);
  float *cosines = power + foldedSize(size), *sines = cosines + size;
  const int64_t b = blockIdx.y, frame0 = int64_t(blockIdx.x) * framesPerBlock;
  const int count = int(min<int64_t>(framesPerBlock, l.frames - frame0));
  const float* samples = l.samples + b * ((l.frames - 1) * l.hop + size) + frame0 * l.hop;
  letNextKernelStart();
  for (int i = thread; i < size; i += threads) sincospif(2.0f * float(i) / float(size), sines + i, cosines + i);
  waitForPreviousKernel();
  for (int i = thread; i < bins * framesPerBlock; i += threads) {
    const int n = i / framesPerBlock, frame = i % framesPerBlock;
    float first = 0, second = 0;
    if (frame < count) {
      const float* x = samples + frame * l.hop;
      first = x[n] * l.window[n];
      if (n > 0 && n < half) second = x[size - n] * l.window[size - n];
    }
    plus[i] = first + second;
    minus[i] = n > 0 && n < half ? first - second : 0.0f;
  }
  __syncthreads();

  const int pairs = size / 4 + 1;  // bins k and N/2 - k
  for (int first = 0; first < pairs; first += threads) {
    const int k = first + thread;
    float real[2][framesPerBlock] = {}, imaginary[2][framesPerBlock] = {};  // sums over even and over odd n
    if (k < pairs) {
      int at = 0;  // k n modulo N
      for (int n = 0; n <= half; n += 2) {
#pragma unroll
        for (int odd = 0; odd < 2; ++odd) {
          if (n + odd > half) break;
          const float cosine = cosines[at], sine = sines[at];
          at += k;
          if (at >= size) at -= size;
#pragma unroll
          for (int frame = 0; frame < framesPerBlock; frame += 4) {
            const float4 p = *reinterpret_cast<const float4*>(plus + (n + odd) * framesPerBlock + frame);
            const float4 m = *reinterpret_cast<const float4*>(minus + (n + odd) * framesPerBlock + frame);
            const float sums[4] = {p.x, p.y, p.z, p.w}, differences[4] = {m.x, m.y, m.z, m.w};
#pragma unroll
            for (int i = 0; i < 4; ++i) {
              real[odd][frame + i] = fmaf(sums[i], cosine, real[odd][frame + i]);
              imaginary[odd][frame + i] = fmaf(differences[i], sine, imaginary[odd][frame + i]);
            }
          }
        }
      }
    }
    if (k >= pairs) continue;
#pragma unroll
    for (int frame = 0; frame < framesPerBlock; ++frame) {
      const float re = real[0][frame], im = imaginary[0][frame], oddRe = real[1][frame], oddIm = imaginary[1][frame];
      power[k * framesPerBlock + frame] = (re + oddRe) * (re + oddRe) + (im + oddIm) * (im + oddIm);
      power[(half - k) * framesPerBlock + frame] = (re - oddRe) * (re - oddRe) + (im - oddIm) * (im - oddIm);
    }
  }
  __syncthreads();

  float highest = -infinity;
  for (int64_t mel = thread; mel < l.mels; mel += threads) {
    const float* filter = l.filters + mel * bins;
    int begin = 0, end = bins;  // most weights of a filter are zero
    while (begin < end && filter[begin] == 0) ++begin;
    while (end > begin && filter[end - 1] == 0) --end;
    float energies[framesPerBlock] = {};
    for (int k = begin; k < end; ++k)
#pragma unroll
      for (int frame = 0; frame < framesPerBlock; ++frame)
        energies[frame] = fmaf(filter[k], power[k * framesPerBlock + frame], energies[frame]);
#pragma unroll
    for (int frame = 0; frame < framesPerBlock; ++frame) {
      if (frame >= count) break;
      const float value = log10f(fmaxf(energies[frame], 1e-10f));
      highest = fmaxf(highest, value);
      l.features[(b * l.mels + mel) * l.frames + frame0 + frame] = value;
    }
  }
  highest = warpMax(highest);
  if (thread % 32 == 0 && highest > -infinity) raiseAtomically(l.peak + b, highest);
}

__global__ void floorKernel(const __grid_constant__ LogMelArguments l) {
  letNextKernelStart();
  waitForPreviousKernel();
  const int64_t perSequence = l.mels * l.frames, step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; at < l.batch * perSequence; at += step)
    l.features[at] = (fmaxf(l.features[at], l.peak[at / perSequence] - 8.0f) + 4.0f) * 0.25f;
}

}  // namespace

Needs logMelNeeds(const LogMelArguments&) { return {}; }

cudaError_t logMel(const LogMelArguments& l, const Launcher& launcher) {
  const dim3 grid(unsigned(divideUp<int64_t>(l.frames, framesPerBlock)), unsigned(l.batch));
  const cudaError_t error = launch(launcher, logMelKernel, grid, dim3(threads), logMelSharedBytes(l.fftSize), l);
  if (error != cudaSuccess) return error;
  const int64_t blocks =
      min<int64_t>(divideUp<int64_t>(l.batch * l.mels * l.frames, 256), launcher.multiprocessors * 8);
  return launch(launcher, floorKernel, dim3(unsigned(blocks)), dim3(256), 0, l);
}

}  // namespace onehead::cuda
