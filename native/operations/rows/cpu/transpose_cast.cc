// Transposes a matrix and converts its type.
#include "cpu/kernels/family.h"
#include "cpu/kernels/math.h"

namespace onehead::cpu::ONEHEAD_ISA {
namespace {

/** Squares of 16 x 16: reads and writes 16 whole cache lines each. */
template <typename T>
void transposed(const TransposeCastArguments& a, const Team& team) {
  constexpr int64_t squareSide = 16;
  const int64_t down = (a.rows + squareSide - 1) / squareSide, across = (a.columns + squareSide - 1) / squareSide;
  const Share share(a.batch * across, team);
  for (int64_t unit = share.begin; unit < share.end; ++unit) {
    const int64_t b = unit / across, firstColumn = unit % across * squareSide;
    const int64_t columns = min(squareSide, a.columns - firstColumn);
    for (int64_t block = 0; block < down; ++block) {
      const int64_t firstRow = block * squareSide, rows = min(squareSide, a.rows - firstRow);
      const float* x = a.x + (b * a.rows + firstRow) * a.columns + firstColumn;
      T* y = static_cast<T*>(a.y) + (b * a.columns + firstColumn) * a.rows + firstRow;
      float square[squareSide][squareSide];
      if (rows == squareSide && columns == squareSide) {
        for (int r = 0; r < squareSide; ++r)
          for (int c = 0; c < squareSide; ++c) square[c][r] = x[r * a.columns + c];
        for (int c = 0; c < squareSide; ++c)
          for (int r = 0; r < squareSide; r += vectorWidth) store(y + c * a.rows + r, load(&square[c][r]));
      } else {
        for (int64_t c = 0; c < columns; ++c)
          for (int64_t r = 0; r < rows; ++r) put(y + c * a.rows + r, x[r * a.columns + c]);
      }
    }
  }
}

}  // namespace

void transposeCast(const TransposeCastArguments& arguments, const Team& team) {
  if (arguments.yType == DType::bfloat16) return transposed<Bf16>(arguments, team);
  transposed<float>(arguments, team);
}

}  // namespace onehead::cpu::ONEHEAD_ISA
