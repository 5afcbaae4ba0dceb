// Conversion of checkpoint weights. Rounds as everything else does: nearest, ties to even, and NaN stays NaN.
#include "family.h"
#include "vector.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

float fromHalf(uint16_t half) {
  const uint32_t sign = uint32_t(half & 0x8000) << 16;
  const uint32_t magnitude = half & 0x7fff;
  if (magnitude >= 0x7c00) return asFloat(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
  // Multiplying by 2^112 moves the exponent's bias from 15 to 127, and normalizes subnormals.
  return asFloat(sign | asBits(asFloat(magnitude << 13) * 0x1p112f));
}

F loadHalf(const uint16_t* p) {
#if defined(__AVX512F__)
  return (F)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__AVX2__)
  return (F)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
  F value;
  for (int i = 0; i < vectorWidth; ++i) value[i] = fromHalf(p[i]);
  return value;
#endif
}

// Not store(Bf16*): vcvtneps2bf16 flushes subnormals to zero.
void storeExactly(float* p, F value) { store(p, value); }
void storeExactly(Bf16* p, F value) {
  const U bits = (U)value;
  const U rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  *(UnalignedH*)p = __builtin_convertvector(value == value ? rounded : bits >> 16 | 0x40, H);
}

template <typename To>
void fromHalves(const uint16_t* from, To* to, int64_t count) {
  int64_t i = 0;
  for (; i + vectorWidth <= count; i += vectorWidth) storeExactly(to + i, loadHalf(from + i));
  for (; i < count; ++i) put(to + i, fromHalf(from[i]));
}

template <typename From, typename To>
void between(const From* from, To* to, int64_t count) {
  int64_t i = 0;
  for (; i + vectorWidth <= count; i += vectorWidth) storeExactly(to + i, load(from + i));
  for (; i < count; ++i) put(to + i, get(from + i));
}

}  // namespace

void convert(const void* from, DType fromType, void* to, DType toType, int64_t count) {
  const bool toBf16 = toType == DType::bfloat16;
  switch (fromType) {
    case DType::float16:
      if (toBf16) return fromHalves(static_cast<const uint16_t*>(from), static_cast<Bf16*>(to), count);
      return fromHalves(static_cast<const uint16_t*>(from), static_cast<float*>(to), count);
    case DType::bfloat16:
      if (toBf16) {
        __builtin_memcpy(to, from, size_t(count) * 2);
        return;
      }
      return between(static_cast<const Bf16*>(from), static_cast<float*>(to), count);
    case DType::float32:
      if (toBf16) return between(static_cast<const float*>(from), static_cast<Bf16*>(to), count);
      __builtin_memcpy(to, from, size_t(count) * 4);
      return;
    case DType::int32:
    case DType::uint8:
    case DType::int8:
      __builtin_unreachable();  // never passed: see kernels.h
  }
}

}  // namespace onehead::cpu::ONEHEAD_ISA
