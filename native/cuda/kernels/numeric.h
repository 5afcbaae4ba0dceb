// Conversions, 16-byte vectors, and reductions over a warp or block.
#pragma once

#include "platform.h"

namespace onehead::cuda {

using float16 = __half;
using bfloat16 = __nv_bfloat16;

__device__ inline float toFloat(float value) { return value; }
__device__ inline float toFloat(float16 value) { return __half2float(value); }
__device__ inline float toFloat(bfloat16 value) { return __bfloat162float(value); }
__device__ inline float toFloat(int8_t value) { return float(value); }

template <class T>
__device__ inline T fromFloat(float value) {
  if constexpr (std::is_same_v<T, float>)
    return value;
  else if constexpr (std::is_same_v<T, float16>)
    return __float2half_rn(value);
  else
    return __float2bfloat16_rn(value);
}

/** Two neighbouring elements as MMA operands: a word of two half-precision elements, or two float32. */
template <class T>
using Pair = std::conditional_t<std::is_same_v<T, float>, float2, uint32_t>;

template <class T>
__device__ inline Pair<T> makePair(float low, float high) {
  if constexpr (std::is_same_v<T, float>) {
    return make_float2(low, high);
  } else {
#if defined(__CUDACC__)
    if constexpr (std::is_same_v<T, float16>) {
      const __half2 both = __floats2half2_rn(low, high);
      return *reinterpret_cast<const uint32_t*>(&both);
    } else {
      const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
      return *reinterpret_cast<const uint32_t*>(&both);
    }
#else
    return uint32_t(fromFloat<T>(low).bits) | uint32_t(fromFloat<T>(high).bits) << 16;
#endif
  }
}

/** The two elements of a word of half-precision elements. */
template <class T>
__device__ inline float2 splitPair(uint32_t word) {
#if defined(__CUDACC__)
  if constexpr (std::is_same_v<T, float16>)
    return __half22float2(*reinterpret_cast<const __half2*>(&word));
  else
    return make_float2(__int_as_float(int(word << 16)), __int_as_float(int(word & 0xffff0000u)));
#else
  return {toFloat(T{uint16_t(word)}), toFloat(T{uint16_t(word >> 16)})};
#endif
}

/** Elements in 16 bytes. */
template <class T>
constexpr int vectorSize = 16 / int(sizeof(T));

template <class T>
__device__ inline void unpack(const uint4& raw, float (&values)[vectorSize<T>]) {
  const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (std::is_same_v<T, float>) {
      values[i] = __int_as_float(int(words[i]));
    } else {
      const float2 both = splitPair<T>(words[i]);
      values[2 * i] = both.x;
      values[2 * i + 1] = both.y;
    }
  }
}

template <class T>
__device__ inline uint4 pack(const float (&values)[vectorSize<T>]) {
  if constexpr (std::is_same_v<T, float>)
    return make_uint4(uint32_t(__float_as_int(values[0])), uint32_t(__float_as_int(values[1])),
                      uint32_t(__float_as_int(values[2])), uint32_t(__float_as_int(values[3])));
  else
    return make_uint4(makePair<T>(values[0], values[1]), makePair<T>(values[2], values[3]),
                      makePair<T>(values[4], values[5]), makePair<T>(values[6], values[7]));
}

template <class Type>
__host__ __device__ constexpr Type min(Type a, Type b) {
  return a < b ? a : b;
}
template <class Type>
__host__ __device__ constexpr Type max(Type a, Type b) {
  return a > b ? a : b;
}
template <class Type>
__host__ __device__ constexpr Type divideUp(Type a, Type b) {
  return (a + b - 1) / b;
}

/** Summed over groups of `Lanes` neighbouring lanes; every lane gets the result. */
template <int Lanes = 32>
__device__ inline float warpSum(float value) {
#pragma unroll
  for (int mask = Lanes / 2; mask > 0; mask /= 2) value += __shfl_xor_sync(allLanes, value, mask);
  return value;
}
template <int Lanes = 32>
__device__ inline float warpMax(float value) {
#pragma unroll
  for (int mask = Lanes / 2; mask > 0; mask /= 2) value = fmaxf(value, __shfl_xor_sync(allLanes, value, mask));
  return value;
}

/** The sum over a block of whole warps. `scratch` holds one float per warp, and can be reused after the call. */
__device__ inline float blockSum(float value, float* scratch) {
  const int warp = int(threadIdx.x) / 32, warps = int(blockDim.x) / 32;
  value = warpSum(value);
  if (threadIdx.x % 32 == 0) scratch[warp] = value;
  __syncthreads();
  float total = 0;
  for (int i = 0; i < warps; ++i) total += scratch[i];
  __syncthreads();
  return total;
}

/** Called by all threads of the blocks that share `counter`, after they have written what they share. Returns true in
 * the last of `blocks` blocks, which sees what all have written, and must reset the counter. `flag` is in shared
 * memory. */
__device__ inline bool isLastBlock(int32_t* counter, int blocks, int* flag) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) *flag = atomicAdd(counter, 1) == blocks - 1;
  __syncthreads();
  if (!*flag) return false;
  __threadfence();
  return true;
}

/** The offset of row or matrix `at`, in elements. */
__host__ __device__ inline int64_t offsetOf(const Stepping& s, int64_t at) {
  return at / s.inner * s.outerStride + at % s.inner / s.shared * s.innerStride;
}

/** Whether 16-byte loads and copies are possible. */
inline bool aligned16(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

/** x (1 + erf(x / sqrt 2)) / 2. Whisper uses this form, not the tanh form that cuBLASLt's epilogue computes. */
__device__ inline float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f)); }
__device__ inline float activate(float x, Activation activation) {
  return activation == Activation::gelu ? gelu(x) : x;
}
/** The same for results of half precision: within 4e-7. The complementary error function is approximated to 1.5e-7
 * (Abramowitz and Stegun, formula 7.1.26) for z = |x| / sqrt 2. Constants are folded into w = z sqrt(log2 e), so that
 * its exponential is 2^(-w w). */
__device__ inline float geluFast(float x) {
  constexpr float root = 0.84932180028801907f;    // w / |x|
  constexpr float zOfW = 0.83255461115769776f;    // z / w
  constexpr float half = 0.5f / root;             // |x| / 2 is half * w
  const float w = fminf(fabsf(x) * root, 30.0f);  // no infinity times zero
  const float t = reciprocalFast(fmaf(0.3275911f * zOfW, w, 1.0f));
  float sum = fmaf(1.061405429f * half, t, -1.453152027f * half);
  sum = fmaf(sum, t, 1.421413741f * half);
  sum = fmaf(sum, t, -0.284496736f * half);
  sum = fmaf(sum, t, 0.254829592f * half) * t;
  return fmaf(-w * sum, exp2Fast(-w * w), x < 0 ? 0.0f : x);  // |x| erfc(z) / 2 less; NaN stays
}

/** Stores a float32 result as another type. */
__device__ inline void storeAs(void* y, DType type, int64_t at, float value) {
  if (type == DType::float32)
    static_cast<float*>(y)[at] = value;
  else if (type == DType::float16)
    static_cast<float16*>(y)[at] = fromFloat<float16>(value);
  else
    static_cast<bfloat16*>(y)[at] = fromFloat<bfloat16>(value);
}
/** Stores four consecutive elements; `at` is a multiple of four. */
__device__ inline void storeFour(void* y, DType type, int64_t at, const float4& four) {
  if (type == DType::float32)
    *reinterpret_cast<float4*>(static_cast<float*>(y) + at) = four;
  else if (type == DType::float16)
    *reinterpret_cast<uint2*>(static_cast<float16*>(y) + at) = {makePair<float16>(four.x, four.y),
                                                                makePair<float16>(four.z, four.w)};
  else
    *reinterpret_cast<uint2*>(static_cast<bfloat16*>(y) + at) = {makePair<bfloat16>(four.x, four.y),
                                                                 makePair<bfloat16>(four.z, four.w)};
}
__device__ inline float loadAs(const void* x, DType type, int64_t at) {
  if (type == DType::float32) return static_cast<const float*>(x)[at];
  return type == DType::float16 ? toFloat(static_cast<const float16*>(x)[at])
                                : toFloat(static_cast<const bfloat16*>(x)[at]);
}

/** Calls body(T{}) with the element type of a floating dtype; cudaErrorInvalidValue for other types. */
template <class Body>
cudaError_t withType(DType type, Body body) {
  switch (type) {
    case DType::float32:
      return body(float{});
    case DType::float16:
      return body(float16{});
    case DType::bfloat16:
      return body(bfloat16{});
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace onehead::cuda
