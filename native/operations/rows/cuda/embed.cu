// The embeddings of tokens and positions, added: see Embed in ../operation.h.
//
// History
//   Passed its tests on an H200 (commit 1dabc91); never timed by itself. An empty kernel in a graph took 0.52 us there
//   (dependent launch, 132 blocks), 1.57 with 1,056: no more can be gained here than that, and its bytes.
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
    int64_t token = e.tokens[b * e.tokenStride + smaller(larger<int64_t>(from, 0), e.tokenStride - 1)];
    if (token < 0 || token >= e.vocabulary) token = 0;
    const int64_t position = smaller(larger<int64_t>(from, 0), e.positions - 1);
    const int64_t place = token * e.width + column;
    const float value = e.tokenScales
                            ? float(static_cast<const int8_t*>(e.tokenEmbedding)[place]) * e.tokenScales[token]
                            : loadAs(e.tokenEmbedding, e.tokenType, place);
    e.y[at] = value * e.scale + e.positionEmbedding[position * e.width + column];
  }
}

}  // namespace

cudaError_t embed(const EmbedArguments& e, const Launcher& launcher) {
  return launch(launcher, embedKernel, dim3(elementBlocks(e.batch * e.count * e.width, launcher)), dim3(elementThreads),
                0, e);
}

}  // namespace onehead::cuda
