#include "dtype.h"

#include <cstring>

namespace onehead {

void convert(const void* from, DType fromType, void* to, DType toType, size_t count) {
  if (fromType == toType) {
    std::memcpy(to, from, count * bytesOf(fromType));
    return;
  }
  auto load = [&](size_t i) -> float {
    switch (fromType) {
      case DType::float32:
        return static_cast<const float*>(from)[i];
      case DType::float16:
        return fromFloat16(static_cast<const uint16_t*>(from)[i]);
      case DType::bfloat16:
        return fromBfloat16(static_cast<const uint16_t*>(from)[i]);
      case DType::int32:
        return float(static_cast<const int32_t*>(from)[i]);
      case DType::uint8:
        return float(static_cast<const uint8_t*>(from)[i]);
      case DType::int8:
        return float(static_cast<const int8_t*>(from)[i]);
    }
    return 0;
  };
  for (size_t i = 0; i < count; ++i) {
    float value = load(i);
    switch (toType) {
      case DType::float32:
        static_cast<float*>(to)[i] = value;
        break;
      case DType::float16:
        static_cast<uint16_t*>(to)[i] = toFloat16(value);
        break;
      case DType::bfloat16:
        static_cast<uint16_t*>(to)[i] = toBfloat16(value);
        break;
      case DType::int32:
        static_cast<int32_t*>(to)[i] = int32_t(value);
        break;
      case DType::uint8:
        static_cast<uint8_t*>(to)[i] = uint8_t(value);
        break;
      case DType::int8:
        static_cast<int8_t*>(to)[i] = int8_t(value);
        break;
    }
  }
}

}  // namespace onehead
