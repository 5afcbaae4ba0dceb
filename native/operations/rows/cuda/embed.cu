// The sum of token and position embeddings: see Embed in ../operation.h.
//
// Shapes  tokens [rows, capacity], tables [vocabulary, width] and [positions, width] -> y [batch, count, width]
// Launch  one element per thread and iteration (see elements.h); no shared memory
// Bytes   two table rows read and one row written per token
//
// History
//   Passed its tests on an H200 (commit 1dabc91); its time was never measured. An empty kernel in a graph took 0.52 us
//   there (dependent launch, 132 blocks), 1.57 with 1,056 blocks.
#include "cuda/kernels/elements.h"

namespace onehead::cuda {

namespace {

__global__ void embedKernel(const __grid_constant__ EmbedArguments e) {
  letNextKernelStart();
  waitForPreviousKernel();
  for (int64_t at = firstElement(); at < e.batch * e.count * e.width; at += elementStep()) {
    const int64_t row = at / e.width, column = at % e.width, b = stateRow(e, row / e.count);
    if (b < 0) {
      e.y[at] = 0;
      continue;
    }
    const int64_t from = e.start[b] + row % e.count;
    int64_t token = e.tokens[b * e.tokenStride + min(max<int64_t>(from, 0), e.tokenStride - 1)];
    if (token < 0 || token >= e.vocabulary) token = 0;
    const int64_t position = min(max<int64_t>(from, 0), e.positions - 1);
    const int64_t element = token * e.width + column;
    const float value = e.tokenScales
                            ? float(static_cast<const int8_t*>(e.tokenEmbedding)[element]) * e.tokenScales[token]
                            : loadAs(e.tokenEmbedding, e.tokenType, element);
    e.y[at] = value * e.scale + e.positionEmbedding[position * e.width + column];
  }
}

}  // namespace

cudaError_t embed(const EmbedArguments& e, const Launcher& launcher) {
  return launch(launcher, embedKernel, dim3(elementBlocks(e.batch * e.count * e.width, launcher)), dim3(elementThreads),
                0, e);
}

}  // namespace onehead::cuda
