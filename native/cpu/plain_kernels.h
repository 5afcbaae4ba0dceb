// Kernels that only move rows or call another kernel, compiled once for all instruction sets. Like those of kernels.h,
// every thread of a team calls them.
#pragma once

#include <algorithm>
#include <cstring>

#include "kernels.h"

namespace onehead::cpu {

/** Converts float32 rows to the weight's type, at the start of the scratch memory. */
struct CastRows {
  int64_t rows, width;
  const float* x;
  DType yType;
  void* scratch;
  decltype(Kernels::convert) convert;
};

inline void castRows(const CastRows& cast, const Team& team) {
  Share share(cast.rows, team);
  size_t element = cast.yType == DType::float32 ? 4 : 2;
  cast.convert(cast.x + share.begin * cast.width, DType::float32,
               static_cast<std::byte*>(cast.scratch) + size_t(share.begin * cast.width) * element, cast.yType,
               (share.end - share.begin) * cast.width);
}

/** Layer norm to the start of the scratch memory. */
struct NormRows {
  LayerNormArguments norm;
  void* scratch;
  Kernel<LayerNormArguments> kernel;
};

inline void normRows(const NormRows& rows, const Team& team) {
  LayerNormArguments norm = rows.norm;
  norm.y = rows.scratch;
  rows.kernel.run(norm, team);
}

/** Copies bytes. */
struct CopyBytes {
  int64_t bytes;
  const std::byte* from;
  std::byte* to;
};

inline void copyBytes(const CopyBytes& copy, const Team& team) {
  constexpr int64_t line = 64;
  Share share((copy.bytes + line - 1) / line, team);
  int64_t begin = share.begin * line, end = std::min(share.end * line, copy.bytes);
  if (begin < end) std::memcpy(copy.to + begin, copy.from + begin, size_t(end - begin));
}

/** y[begin[b] + t] = x[b, t] for positions within y; nothing if begin[b] is negative. */
struct ScatterBytes {
  int64_t batch, rows, positions;  // of x; of each sequence of x; of y
  int64_t rowBytes, strideBytes;   // of a row of x; between rows of x
  const std::byte* x;
  const int32_t* begin;
  std::byte* y;
};

inline void scatterBytes(const ScatterBytes& scatter, const Team& team) {
  Share share(scatter.batch * scatter.rows, team);
  for (int64_t row = share.begin; row < share.end; ++row) {
    const int64_t begin = scatter.begin[row / scatter.rows], to = begin + row % scatter.rows;
    if (begin < 0 || to >= scatter.positions) continue;
    std::memcpy(scatter.y + to * scatter.rowBytes, scatter.x + row * scatter.strideBytes, size_t(scatter.rowBytes));
  }
}

/** The same with conversion to another floating type. */
struct ScatterConverted {
  int64_t batch, rows, positions;  // of x; of each sequence of x; of y
  int64_t width, stride;           // elements of a row of x; between rows of x
  const std::byte* x;
  DType xType;
  const int32_t* begin;
  std::byte* y;
  DType yType;
  decltype(Kernels::convert) convert;
};

inline void scatterConverted(const ScatterConverted& scatter, const Team& team) {
  const auto bytes = [](DType type) { return type == DType::float32 ? int64_t(4) : int64_t(2); };
  const int64_t from = bytes(scatter.xType), into = bytes(scatter.yType);
  const DType source = scatter.xType == DType::float32 ? DType::float32 : DType::bfloat16;
  Share share(scatter.batch * scatter.rows, team);
  for (int64_t row = share.begin; row < share.end; ++row) {
    const int64_t begin = scatter.begin[row / scatter.rows], to = begin + row % scatter.rows;
    if (begin < 0 || to >= scatter.positions) continue;
    scatter.convert(scatter.x + row * scatter.stride * from, source, scatter.y + to * scatter.width * into,
                    scatter.yType, scatter.width);
  }
}

}  // namespace onehead::cpu
