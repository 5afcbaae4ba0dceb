// The softmax of attention whose score matrix is in memory (batched_attention.cc): scales, masks and normalizes row by
// row, and rounds to the storage type of the second product.
#include "attention_common.h"
#include "cpu/kernels/family.h"
#include "cpu/kernels/math.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

/** Softmax of one row of `keys` scores, of which the first `seen` are visible. The scores hold the exponentials until
 * their sum is known. */
template <typename T>
void softmaxRow(float* scores, int64_t seen, int64_t keys, float factor, T* weights) {
  const int64_t vectorized = seen / vectorWidth * vectorWidth, left = seen - vectorized;
  F highest = splat(-infinity);
  for (int64_t i = 0; i < vectorized; i += vectorWidth) highest = max(highest, load(scores + i) * splat(factor));
  float top = maxLane(highest);
  for (int64_t i = vectorized; i < seen; ++i) top = scores[i] * factor > top ? scores[i] * factor : top;

  if (max(splat(top), splat(-top))[0] > largeExponent) {
    for (int64_t i = 0; i < seen; ++i) scores[i] *= factor;
    factor = 1;
  }
  F total = {};
  for (int64_t i = 0; i < vectorized; i += vectorWidth) {
    const F weight = exp2(fused(load(scores + i), splat(factor), splat(-top)));
    total += weight;
    store(scores + i, weight);
  }
  storePart(scores + vectorized, exp2(fused(loadPart(scores + vectorized, left), splat(factor), splat(-top))), left);
  total += loadPart(scores + vectorized, left);

  const F inverse = splat(1.0f / sum(total));
  for (int64_t i = 0; i < vectorized; i += vectorWidth) store(weights + i, load(scores + i) * inverse);
  storePart(weights + vectorized, loadPart(scores + vectorized, left) * inverse, left);
  __builtin_memset(weights + seen, 0, size_t(keys - seen) * sizeof(T));
}

template <typename T>
void softmaxRows(const SoftmaxArguments& a, const Team& team) {
  const Share share(a.batch * a.queries * a.heads, team);
  for (int64_t row = share.begin; row < share.end; ++row) {
    const int64_t query = row / a.heads, seen = visibleKeys(a, query / a.queries, query % a.queries);
    softmaxRow(a.scores + row * a.keys, seen, a.keys, a.scale * log2E, static_cast<T*>(a.weights) + row * a.keys);
  }
}

}  // namespace

void softmax(const SoftmaxArguments& arguments, const Team& team) {
  if (arguments.weightType == DType::bfloat16) return softmaxRows<Bf16>(arguments, team);
  softmaxRows<float>(arguments, team);
}

}  // namespace onehead::cpu::ONEHEAD_ISA
