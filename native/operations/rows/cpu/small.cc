// Kernels that move rows: embed, gatherRows and transposeCast.
#include "cpu/kernels/family.h"
#include "cpu/kernels/math.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

/** Each row's word and position; `write(y, token, position)` adds them up. */
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
    const int64_t place = a.start[b] + row % a.count;
    int64_t token = a.tokens[b * a.tokenStride + least(most(place, 0), a.tokenStride - 1)];
    if (token < 0 || token >= a.vocabulary) token = 0;
    write(y, token, a.positionEmbedding + least(most(place, 0), a.positions - 1) * a.width);
  }
}

template <typename T>
void embedRows(const EmbedArguments& a, const Team& team) {
  const T* table = static_cast<const T*>(a.tokenEmbedding);
  embedEach(a, team, [&](float* y, int64_t token, const float* position) {
    const T* word = table + token * a.width;
    int64_t i = 0;
    for (; i + kWidth <= a.width; i += kWidth) store(y + i, load(word + i) * splat(a.scale) + load(position + i));
    for (; i < a.width; ++i) y[i] = get(word + i) * a.scale + position[i];
  });
}

/** From panels of 8 bits. */
void embedBytes(const EmbedArguments& a, const Team& team) {
  const int8_t* table = static_cast<const int8_t*>(a.tokenEmbedding);
  embedEach(a, team, [&](float* y, int64_t token, const float* position) {
    const float scale = a.tokenScales[token] * a.scale;
    for (int64_t i = 0; i < a.width; ++i) y[i] = float(table[bytePlace(token, i, a.width)]) * scale + position[i];
  });
}

/** Squares of 16 x 16: 16 lines are read and 16 written, each whole. */
template <typename T>
void transposed(const TransposeCastArguments& a, const Team& team) {
  constexpr int64_t kSide = 16;
  const int64_t down = (a.rows + kSide - 1) / kSide, across = (a.columns + kSide - 1) / kSide;
  const Share share(a.batch * across, team);
  for (int64_t unit = share.begin; unit < share.end; ++unit) {
    const int64_t b = unit / across, firstColumn = unit % across * kSide;
    const int64_t columns = least(kSide, a.columns - firstColumn);
    for (int64_t block = 0; block < down; ++block) {
      const int64_t firstRow = block * kSide, rows = least(kSide, a.rows - firstRow);
      const float* x = a.x + (b * a.rows + firstRow) * a.columns + firstColumn;
      T* y = static_cast<T*>(a.y) + (b * a.columns + firstColumn) * a.rows + firstRow;
      float square[kSide][kSide];
      if (rows == kSide && columns == kSide) {
        for (int r = 0; r < kSide; ++r)
          for (int c = 0; c < kSide; ++c) square[c][r] = x[r * a.columns + c];
        for (int c = 0; c < kSide; ++c)
          for (int r = 0; r < kSide; r += kWidth) store(y + c * a.rows + r, load(&square[c][r]));
      } else {
        for (int64_t c = 0; c < columns; ++c)
          for (int64_t r = 0; r < rows; ++r) put(y + c * a.rows + r, x[r * a.columns + c]);
      }
    }
  }
}

}  // namespace

void embed(const EmbedArguments& arguments, const Team& team) {
  if (arguments.tokenScales) return embedBytes(arguments, team);
  if (arguments.tokenType == DType::bfloat16) return embedRows<Bf16>(arguments, team);
  embedRows<float>(arguments, team);
}

void transposeCast(const TransposeCastArguments& arguments, const Team& team) {
  if (arguments.yType == DType::bfloat16) return transposed<Bf16>(arguments, team);
  transposed<float>(arguments, team);
}

void gatherRows(const GatherRows& a, const Team& team) {
  const Share share(a.batch, team);
  for (int64_t b = share.begin; b < share.end; ++b) {
    const int64_t row = least(most(int64_t(a.index[b]) + a.offset, 0), a.length - 1);
    __builtin_memcpy(a.y + b * a.yStride, a.x + (b * a.length + row) * a.width, size_t(a.width) * sizeof(float));
  }
}

}  // namespace onehead::cpu::ONEHEAD_ISA
