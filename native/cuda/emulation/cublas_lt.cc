// A substitute for cuBLASLt: it has the same descriptors, rejects inconsistent ones, and computes with plain loops. To
// test the choice of algorithms, its first algorithm is slow, its second fails, and its third is not supported.
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "../../core/dtype.h"
#include "../cublas_lt_library.h"

namespace onehead::cuda::cublas_lt {

struct HandleOpaque {};
struct DescriptionOpaque {
  bool isInt8 = false;
  int32_t transposeA = 0;
  uint32_t epilogue = 1;
  const void* bias = nullptr;
};
struct LayoutOpaque {
  int type;
  uint64_t rows, columns;
  int64_t stride;
};
struct PreferenceOpaque {};

namespace {

constexpr int invalid = 7;           // CUBLAS_STATUS_INVALID_VALUE
constexpr int executionFailed = 13;  // CUBLAS_STATUS_EXECUTION_FAILED

DType dtypeOf(int type) {
  return type == typeFloat32 ? DType::float32 : type == typeFloat16 ? DType::float16 : DType::bfloat16;
}

float load(const void* data, int type, int64_t at) {
  float value;
  convert(static_cast<const std::byte*>(data) + size_t(at) * bytesOf(dtypeOf(type)), dtypeOf(type), &value,
          DType::float32, 1);
  return value;
}

template <class Opaque>
int destroy(Opaque* object) {
  delete object;
  return 0;
}

int set(Description description, int attribute, const void* value, size_t bytes) {
  if (attribute == transposeA && bytes == 4)
    description->transposeA = *static_cast<const int32_t*>(value);
  else if (attribute == epilogueKind && bytes == 4)
    description->epilogue = *static_cast<const uint32_t*>(value);
  else if (attribute == biasPointer && bytes == sizeof(void*))
    description->bias = *static_cast<void* const*>(value);
  else
    return invalid;
  return 0;
}

/** int8: depth, columns and strides must be multiples of four, and there is no epilogue. */
bool int8Fits(Description o, Layout a, Layout b, Layout d) {
  const bool fours = a->rows % 4 == 0 && a->columns % 4 == 0 && a->stride % 4 == 0 && b->stride % 4 == 0;
  return a->type == typeInt8 && d->type == typeInt32 && fours && o->epilogue == 1;
}

bool fits(Description o, Layout a, Layout b, Layout c, Layout d) {
  if (o->isInt8 ? !int8Fits(o, a, b, d) : a->type == typeInt8 || d->type == typeInt32) return false;
  return o->transposeA == operationTransposed && a->rows == b->rows && d->rows == a->columns &&
         d->columns == b->columns && c->type == d->type && a->type == b->type && int64_t(a->rows) <= a->stride &&
         int64_t(b->rows) <= b->stride && int64_t(d->rows) <= d->stride;
}

/** Stored in an algorithm's data. */
enum Kind : uint64_t { slow = 1, failing, unsupported, fast };

int heuristic(Handle, Description o, Layout a, Layout b, Layout c, Layout d, Preference, int wanted, Heuristic* found,
              int* count) {
  *count = 0;
  for (uint64_t kind = slow; fits(o, a, b, c, d) && kind <= fast && *count < wanted; ++kind) {
    found[*count] = {};
    found[*count].algorithm.data[0] = kind;
    found[(*count)++].state = kind == unsupported ? 15 : 0;
  }
  return 0;
}

int matmul(Handle, Description o, const void* alpha, const void* a, Layout aLayout, const void* b, Layout bLayout,
           const void* beta, const void* c, Layout cLayout, void* d, Layout dLayout, const Algorithm* algorithm, void*,
           size_t, cudaStream_t stream) {
  const uint64_t kind = algorithm->data[0];
  if (kind != slow && kind != fast) return executionFailed;
  if (kind == slow) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  if (!fits(o, aLayout, bLayout, cLayout, dLayout)) return invalid;
  const LayoutOpaque left = *aLayout, right = *bLayout, result = *dLayout;
  if (o->isInt8) {
    const int32_t alphaInt32 = *static_cast<const int32_t*>(alpha);
    if (*static_cast<const int32_t*>(beta) != 0) return invalid;
    const cudaError_t error = emulation::enqueue(stream, [=] {
      const auto *w = static_cast<const int8_t*>(a), *x = static_cast<const int8_t*>(b);
      for (int64_t m = 0; m < int64_t(right.columns); ++m)
        for (int64_t n = 0; n < int64_t(left.columns); ++n) {
          int32_t sum = 0;
          for (int64_t k = 0; k < int64_t(left.rows); ++k) sum += w[n * left.stride + k] * x[m * right.stride + k];
          static_cast<int32_t*>(d)[m * result.stride + n] = alphaInt32 * sum;
        }
      return cudaSuccess;
    });
    return error == cudaSuccess ? 0 : executionFailed;
  }
  const float times = *static_cast<const float*>(alpha), kept = *static_cast<const float*>(beta);
  const DescriptionOpaque description = *o;
  const cudaError_t error = emulation::enqueue(stream, [=] {
    std::vector<float> w(left.rows * left.columns), x(right.rows);
    for (uint64_t n = 0; n < left.columns; ++n)
      for (uint64_t k = 0; k < left.rows; ++k)
        w[n * left.rows + k] = load(a, left.type, int64_t(n) * left.stride + int64_t(k));
    for (uint64_t m = 0; m < right.columns; ++m) {
      for (uint64_t k = 0; k < right.rows; ++k) x[k] = load(b, right.type, int64_t(m) * right.stride + int64_t(k));
      for (uint64_t n = 0; n < result.rows; ++n) {
        float sum = 0;
        for (uint64_t k = 0; k < left.rows; ++k) sum += w[n * left.rows + k] * x[k];
        const int64_t at = int64_t(m) * result.stride + int64_t(n);
        sum = sum * times + (kept != 0 ? kept * load(c, result.type, at) : 0);
        if (description.epilogue == epilogueBias) sum += load(description.bias, result.type, int64_t(n));
        convert(&sum, DType::float32, static_cast<std::byte*>(d) + size_t(at) * bytesOf(dtypeOf(result.type)),
                dtypeOf(result.type), 1);
      }
    }
    return cudaSuccess;
  });
  return error == cudaSuccess ? 0 : executionFailed;
}

}  // namespace

const Library* library() {
  static const Library emulated{
      "emulated",
      [](Handle* made) { return *made = new HandleOpaque, 0; },
      [](Handle handle) {
        emulation::disturbCaptures();  // the real one frees device memory
        return destroy(handle);
      },
      [](Description* made, int computeType, int scaleType) {
        const bool isInt8 = computeType == computeInt32;
        *made = new DescriptionOpaque{.isInt8 = isInt8};
        return int(computeType != (isInt8 ? computeInt32 : computeFloat32) ||
                   scaleType != (isInt8 ? typeInt32 : typeFloat32));
      },
      set,
      destroy<DescriptionOpaque>,
      [](Layout* made, int type, uint64_t rows, uint64_t columns, int64_t stride) {
        return *made = new LayoutOpaque{type, rows, columns, stride}, 0;
      },
      destroy<LayoutOpaque>,
      [](Preference* made) { return *made = new PreferenceOpaque, 0; },
      [](Preference, int attribute, const void*, size_t bytes) {
        return attribute == maxWorkspaceBytes ? int(bytes != sizeof(size_t)) : int(bytes != sizeof(uint32_t));
      },
      destroy<PreferenceOpaque>,
      heuristic,
      matmul,
  };
  return &emulated;
}

}  // namespace onehead::cuda::cublas_lt
