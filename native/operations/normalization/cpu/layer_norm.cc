// Layer norm of rows: mean, then variance about the mean, then weight and bias. A row stays in the L1 cache.
#include "cpu/kernels/family.h"
#include "cpu/kernels/norm.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

template <typename T>
void rows(const LayerNormArguments& a, const Team& team) {
  const Share share(a.rows, team);
  for (int64_t row = share.begin; row < share.end; ++row) {
    const float* x = a.x + row * a.width;
    T* y = static_cast<T*>(a.y) + row * a.width;
    const Moments moments = momentsOf(x, a.width, a.epsilon);
    const F mean = splat(moments.mean), scale = splat(moments.scale);
    int64_t i = 0;
    for (; i + vectorWidth <= a.width; i += vectorWidth)
      store(y + i, (load(x + i) - mean) * scale * load(a.weight + i) + load(a.bias + i));
    for (; i < a.width; ++i) put(y + i, (x[i] - moments.mean) * moments.scale * a.weight[i] + a.bias[i]);
  }
}

}  // namespace

void layerNorm(const LayerNormArguments& arguments, const Team& team) {
  if (arguments.yType == DType::bfloat16) return rows<Bf16>(arguments, team);
  rows<float>(arguments, team);
}

}  // namespace onehead::cpu::ONEHEAD_ISA
