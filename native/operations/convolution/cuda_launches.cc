#include "cuda/preparation.h"
#include "cuda/storage.h"

namespace onehead::cuda {

void prepare(Preparation& p, const Convolution& o) {
  const int64_t length = o.x.shape[1], channels = o.x.shape[2], outputs = o.y.shape[2], kernelSize = o.weight.shape[2];
  const ProductArguments arguments{
      .rows = o.y.shape[0] * o.y.shape[1],
      .columns = outputs,
      .depth = kernelSize * channels,
      .type = o.x.dtype,
      .a = p.at(o.x),
      .aRows = {.inner = o.y.shape[1], .outerStride = length * channels, .innerStride = o.stride * channels},
      .b = o.weight.storage && o.weight.offset == 0 ? static_cast<CudaStorage&>(*o.weight.storage).channelsLast()
                                                    : nullptr,
      .bStride = kernelSize * channels,
      .aBegin = -o.padding * channels,
      .aLimit = length * channels,
      .epilogue = {.scale = 1,
                   .bias = p.at<float>(o.bias),
                   .activation = o.activation,
                   .residual = p.at<float>(o.residual),
                   .residualRows = o.y.shape[1]},
      .y = p.at(o.y),
      .yType = o.y.dtype,
      .yRows = {.inner = 1, .outerStride = outputs}};
  if (arguments.b) return p.kernel(arguments, product);
  // A weight that is not constant is permuted in each replay.
  p.kernel(PermuteArguments{.outputs = outputs,
                            .channels = channels,
                            .kernel = kernelSize,
                            .x = p.at(o.weight),
                            .y = nullptr,
                            .elementBytes = bytesOf(o.weight.dtype)},
           permute, o.weight.bytes(), 0,
           [](PermuteArguments& a, const Workspace& workspace) { a.y = workspace.scratch(); });
  p.kernel(arguments, product, 0, 0,
           [](ProductArguments& a, const Workspace& workspace) { a.b = workspace.scratch(); });
}

}  // namespace onehead::cuda
