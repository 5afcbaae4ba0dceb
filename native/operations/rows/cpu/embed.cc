// The sum of token and position embeddings.
#include "cpu/kernels/family.h"
#include "cpu/kernels/math.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

/** Calls `write(y, token, position)` for each row, with the token and the row of its position embedding. */
template <typename Write>
void embedEach(const EmbedArguments& a, const Team& team, Write write) {
  const Share share(a.batch * a.count, team);
  for (int64_t row = share.begin; row < share.end; ++row) {
    float* y = a.y + row * a.width;
    int64_t b = row / a.count;
    if (a.rows) b = a.rows[b] < a.pool ? a.rows[b] : -1;
    if (b < 0) {
      __builtin_memset(y, 0, size_t(a.width) * sizeof(float));
      continue;
    }
    const int64_t index = a.start[b] + row % a.count;
    int64_t token = a.tokens[b * a.tokenStride + min(max(index, 0), a.tokenStride - 1)];
    if (token < 0 || token >= a.vocabulary) token = 0;
    write(y, token, a.positionEmbedding + min(max(index, 0), a.positions - 1) * a.width);
  }
}

template <typename T>
void embedRows(const EmbedArguments& a, const Team& team) {
  const T* table = static_cast<const T*>(a.tokenEmbedding);
  embedEach(a, team, [&](float* y, int64_t token, const float* position) {
    const T* word = table + token * a.width;
    int64_t i = 0;
    for (; i + vectorWidth <= a.width; i += vectorWidth)
      store(y + i, load(word + i) * splat(a.scale) + load(position + i));
    for (; i < a.width; ++i) y[i] = get(word + i) * a.scale + position[i];
  });
}

/** From an int8 table in panels. */
void embedInt8(const EmbedArguments& a, const Team& team) {
  const int8_t* table = static_cast<const int8_t*>(a.tokenEmbedding);
  embedEach(a, team, [&](float* y, int64_t token, const float* position) {
    const float scale = a.tokenScales[token] * a.scale;
    for (int64_t i = 0; i < a.width; ++i) y[i] = float(table[int8PanelIndex(token, i, a.width)]) * scale + position[i];
  });
}

}  // namespace

void embed(const EmbedArguments& arguments, const Team& team) {
  if (arguments.tokenScales) return embedInt8(arguments, team);
  if (arguments.tokenType == DType::bfloat16) return embedRows<Bf16>(arguments, team);
  embedRows<float>(arguments, team);
}

}  // namespace onehead::cpu::ONEHEAD_ISA
