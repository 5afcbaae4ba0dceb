#include "cuda/preparation.h"
#include "cuda/storage.h"

namespace onehead::cuda {

namespace {

/** The largest int8 weight, in bytes once widened into scratch memory, that cuBLASLt multiplies. */
constexpr size_t maxWidenedBytes = size_t(64) << 20;

/** The type in which a product is computed: the weight's. An int8 weight is widened to the type of x, or to the
 * output's type if a norm is fused. Float32 logits with `quantized` are computed in float16: exact enough where x might
 * as well have been int8. */
DType typeOf(const Linear& o) {
  if (!o.weightScales) return o.weight.dtype;
  if (!o.normWeight) return o.x.dtype;
  return o.y.dtype == DType::float32 && o.quantized ? DType::float16 : o.y.dtype;
}

Epilogue epilogueOf(Preparation& p, const Linear& o) {
  return {.scale = 1,
          .bias = p.at<float>(o.bias),
          .activation = o.activation,
          .residual = p.at<float>(o.residual),
          .residualRows = o.x.rows(),
          .columnScales = p.at<float>(o.weightScales),
          .rowScales = nullptr};
}

/** The arguments of the kernels for few rows, with x and its norm as in the operation. */
FewRowsArguments fewRowsOf(Preparation& p, const Linear& o) {
  return {.rows = o.x.rows(),
          .columns = o.weight.shape[0],
          .depth = o.x.columns(),
          .x = p.at(o.x),
          .xType = o.x.dtype,
          .weight = p.at(o.weight),
          .weightType = typeOf(o),
          .weightChanges = p.changes(o.weight) || p.changes(o.weightScales) || p.changes(o.bias) ||
                           p.changes(o.normWeight) || p.changes(o.normBias),
          .normWeight = p.at<float>(o.normWeight),
          .normBias = p.at<float>(o.normBias),
          .epsilon = o.epsilon,
          .epilogue = epilogueOf(p, o),
          .y = p.at(o.y),
          .yType = o.y.dtype};
}

/** What a product of few rows reads from memory: x is in the cache. */
Reads readsOf(const FewRowsArguments& few) {
  const int64_t bytes = few.columns * few.depth * (few.epilogue.columnScales ? 1 : int64_t(bytesOf(few.weightType)));
  return {.bytes = bytes, .constant = few.weightChanges ? nullptr : few.weight, .prefetches = true};
}

/** Kernels on tensor cores take x in the type of the product: stages the norm of x, or x converted, in scratch memory.
 * Returns the bytes used there; 0 if x is used as it is. */
size_t stageInput(Preparation& p, const Linear& o) {
  const int64_t rows = o.x.rows(), depth = o.x.columns();
  const DType type = typeOf(o);
  if (!o.normWeight && o.x.dtype == type) return 0;
  const size_t bytes = rounded(size_t(rows * depth) * bytesOf(type));
  if (o.normWeight) {
    LayerNormArguments norm = normOf(p, o, type);
    norm.weightChanges = p.changes(o.normWeight) || p.changes(o.normBias);
    p.kernel(norm, layerNorm, bytes, 0,
             [](LayerNormArguments& a, const Workspace& workspace) { a.y = workspace.scratch(); });
  } else {
    CopyRowsArguments cast{};
    cast.rows = 1;
    cast.width = rows * depth;
    cast.x = p.at(o.x);
    cast.xType = o.x.dtype;
    cast.yType = type;
    p.kernel(cast, copyRows, bytes, 0,
             [](CopyRowsArguments& a, const Workspace& workspace) { a.y = workspace.scratch(); });
  }
  return bytes;
}

/** Adds a product of cuBLASLt, whose workspace begins at offset `begin` of the scratch memory. `buffers` returns the
 * buffers that are in scratch memory. */
template <class BuffersOf>
void addCublasLt(Preparation& p, CublasLt::Run run, BuffersOf buffers, size_t begin) {
  p.add(
      [run = std::move(run), buffers, context = &p.context, doing = "starting " + p.title()](
          const Launcher& launcher, const Workspace& workspace) {
        const int status = run(buffers(workspace), launcher.stream);
        if (status != 0) context->fail(doing, CublasLt::describe(status));
        return cudaSuccess;
      },
      begin + CublasLt::workspaceBytes);
}

/** Adds the product with cuBLASLt; false if cuBLASLt does not support it. A null x is at the start of the scratch
 * memory, which is free from `begin` on. An int8 weight is widened into scratch memory first. */
bool tryCublasLt(Preparation& p, const Linear& o, const void* x, size_t begin) {
  if (!p.cublasLt) return false;
  const DType type = typeOf(o);
  const size_t widenedAt = begin, widenedBytes = o.weightScales ? rounded(o.weight.bytes() * bytesOf(type)) : 0;
  if (widenedBytes > maxWidenedBytes) return false;
  begin += widenedBytes;
  LargeProduct arguments{.rows = o.x.rows(),
                         .columns = o.weight.shape[0],
                         .depth = o.x.columns(),
                         .type = type,
                         .weight = o.weightScales ? nullptr : p.at(o.weight),
                         .bias = nullptr,
                         .residual = p.at<float>(o.residual),
                         .y = p.at(o.y),
                         .yType = o.y.dtype};
  // The activation comes before the residual, but cuBLASLt adds the residual itself.
  if (arguments.residual && (o.activation != Activation::none || o.y.dtype != DType::float32)) return false;
  if (o.bias) {
    // cuBLASLt takes a bias in the output's type only.
    const bool convertible = o.bias->storage && o.bias->offset == 0;
    arguments.bias = o.y.dtype == DType::float32 ? p.at(*o.bias)
                     : convertible               ? static_cast<CudaStorage&>(*o.bias->storage).as(o.y.dtype)
                                                 : nullptr;
    if (!arguments.bias) return false;
  }
  size_t alignment = scratchAlignment;
  while (x && reinterpret_cast<uintptr_t>(x) % alignment != 0) alignment /= 2;
  // Trial runs write y. A temporary holds nothing between runs; other outputs may hold data, so they get no trials.
  p.workspace.atLeast(begin + CublasLt::workspaceBytes, 0);
  auto buffers = [=](const Workspace& workspace) {
    return CublasLt::Buffers{.x = x ? x : workspace.scratch(),
                             .workspace = workspace.scratch() + begin,
                             .weight = widenedBytes ? workspace.scratch() + widenedAt : nullptr};
  };
  const CublasLt::Trial trial{buffers(p.workspace), p.context.stream()};
  CublasLt::Run run = p.cublasLt->prepare(arguments, alignment, o.y.storage ? nullptr : &trial);
  if (!run) return false;
  if (widenedBytes)
    p.kernel(WidenRowsArguments{.rows = o.weight.shape[0],
                                .width = o.weight.shape[1],
                                .x = p.at<int8_t>(o.weight),
                                .scales = p.at<float>(o.weightScales),
                                .y = nullptr,
                                .yType = type},
             widenRows, begin, 0,
             [widenedAt](WidenRowsArguments& a, const Workspace& workspace) { a.y = workspace.scratch() + widenedAt; });
  addCublasLt(p, std::move(run), buffers, begin);
  if (o.activation != Activation::none) {
    p.add([y = p.at(o.y), type = o.y.dtype, elements = o.y.elements(), activation = o.activation](
              const Launcher& launcher, const Workspace&) {
      return activateInPlace(y, type, elements, activation, launcher);
    });
  }
  return true;
}

/** Arguments of product.cu, which supports any shape. */
ProductArguments productOf(Preparation& p, const Linear& o, const void* x) {
  ProductArguments arguments{};
  arguments.rows = o.x.rows();
  arguments.columns = o.weight.shape[0];
  arguments.depth = o.x.columns();
  arguments.type = typeOf(o);
  arguments.a = x;
  arguments.aRows = {1, arguments.depth, 0, 1};
  arguments.b = p.at(o.weight);
  arguments.bStride = arguments.depth;
  arguments.epilogue = epilogueOf(p, o);
  arguments.y = p.at(o.y);
  arguments.yType = o.y.dtype;
  arguments.yRows = {1, arguments.columns, 0, 1};
  return arguments;
}

/** int8 x int8 with cuBLASLt, whose 32-bit sums go to scratch memory: in pieces of as many rows as keep the sums in the
 * L2 cache, each followed by finishSums. Returns false if cuBLASLt does not support it. */
bool tryCublasLtInt8(Preparation& p, const Linear& o, int64_t stride, size_t scalesAt, size_t begin) {
  const int64_t rows = o.x.rows(), depth = o.x.columns(), columns = o.weight.shape[0];
  if (!p.cublasLt || depth % 16 || columns % 4 || reinterpret_cast<uintptr_t>(p.at(o.weight)) % 16) return false;
  constexpr int64_t sumBytes = int64_t(32) << 20, rowStep = 128;
  const int64_t rowsPerPiece = std::max(rowStep, sumBytes / int64_t(sizeof(int32_t)) / columns / rowStep * rowStep);
  const size_t end = begin + rounded(size_t(std::min(rows, rowsPerPiece) * columns) * sizeof(int32_t));
  p.workspace.atLeast(end + CublasLt::workspaceBytes, 0);
  struct Piece {
    int64_t first, rows;
    CublasLt::Run run;
  };
  std::vector<Piece> pieces;
  for (int64_t first = 0; first < rows; first += rowsPerPiece) {
    const int64_t count = std::min(rowsPerPiece, rows - first);
    const LargeProduct arguments{.rows = count,
                                 .columns = columns,
                                 .depth = depth,
                                 .type = DType::int8,
                                 .weight = p.at(o.weight),
                                 .bias = nullptr,
                                 .residual = nullptr,
                                 .y = nullptr,
                                 .yType = DType::int32};
    const CublasLt::Trial trial{
        {.x = p.workspace.scratch(), .workspace = p.workspace.scratch() + end, .y = p.workspace.scratch() + begin},
        p.context.stream()};
    CublasLt::Run run = p.cublasLt->prepare(arguments, scratchAlignment, &trial);
    if (!run) return false;
    pieces.push_back({first, count, std::move(run)});
  }
  for (Piece& piece : pieces) {
    auto buffers = [xAt = size_t(piece.first * stride), begin, end](const Workspace& workspace) {
      return CublasLt::Buffers{
          .x = workspace.scratch() + xAt, .workspace = workspace.scratch() + end, .y = workspace.scratch() + begin};
    };
    addCublasLt(p, std::move(piece.run), buffers, end);
    FinishSumsArguments finish{.rows = piece.rows,
                               .columns = columns,
                               .sums = nullptr,
                               .epilogue = epilogueOf(p, o),
                               .y = p.at(o.y) + size_t(piece.first * columns) * bytesOf(o.y.dtype),
                               .yType = o.y.dtype};
    if (finish.epilogue.residual) finish.epilogue.residual += piece.first * columns;
    p.kernel(finish, finishSums, end, 0,
             [begin, scalesAt, first = piece.first](FinishSumsArguments& a, const Workspace& workspace) {
               a.sums = reinterpret_cast<const int32_t*>(workspace.scratch() + begin);
               a.epilogue.rowScales = reinterpret_cast<const float*>(workspace.scratch() + scalesAt) + first;
             });
  }
  return true;
}

/** Product of int8 rows and int8 weights; normalizes and quantizes the rows first. */
void multiplyInt8(Preparation& p, const Linear& o) {
  const int64_t rows = o.x.rows(), depth = o.x.columns();
  const int64_t stride = (depth + 15) / 16 * 16;
  const size_t scalesAt = rounded(size_t(rows * stride)), end = scalesAt + rounded(size_t(rows) * sizeof(float));
  const QuantizeRowsArguments quantize{.rows = rows,
                                       .width = depth,
                                       .x = p.at(o.x),
                                       .xType = o.x.dtype,
                                       .normWeight = p.at<float>(o.normWeight),
                                       .normBias = p.at<float>(o.normBias),
                                       .epsilon = o.epsilon,
                                       .y = nullptr,
                                       .stride = stride,
                                       .scales = nullptr};
  p.kernel(quantize, quantizeRows, end, 0, [scalesAt](QuantizeRowsArguments& a, const Workspace& workspace) {
    a.y = reinterpret_cast<int8_t*>(workspace.scratch());
    a.scales = reinterpret_cast<float*>(workspace.scratch() + scalesAt);
  });
  if (tryCublasLtInt8(p, o, stride, scalesAt, end)) return;
  ProductArguments arguments = productOf(p, o, nullptr);
  arguments.type = DType::int8;
  arguments.aRows = {1, stride, 0, 1};
  p.kernel(arguments, product, end, 0, [scalesAt](ProductArguments& a, const Workspace& workspace) {
    a.a = workspace.scratch();
    a.epilogue.rowScales = reinterpret_cast<const float*>(workspace.scratch() + scalesAt);
  });
}

}  // namespace

void prepare(Preparation& p, const Linear& o) {
  // 0. Many rows, int8 x int8. For few rows x is not quantized: the bytes of the weight are the bound.
  if (o.quantized && o.x.rows() > skinnyRows && o.x.columns() % 2 == 0) return multiplyInt8(p, o);

  // 1. Few rows, x as it is: these kernels apply the norm and convert x themselves.
  FewRowsArguments few = fewRowsOf(p, o);
  auto fewRows = [&](auto function, auto... scratch) {
    p.kernel(few, function, scratch...);
    p.reads(readsOf(few));
  };
  if (rowProductFits(few, p.launcher())) return fewRows(rowProduct);
  if (clusterProductFits(few, p.launcher())) return fewRows(clusterProduct);
  if (matvecFits(few, p.launcher())) return p.kernel(few, matvec);

  // 2. Few rows, x in the type of the product. A null x is in scratch memory.
  const size_t staged = stageInput(p, o);
  const void* x = staged ? nullptr : p.at(o.x);
  few.x = x;
  few.xType = typeOf(o);
  few.normWeight = few.normBias = nullptr;
  auto completeX = [](auto& arguments, const Workspace& workspace) {
    if (!arguments.x) arguments.x = workspace.scratch();
  };
  if (rowProductFits(few, p.launcher())) return fewRows(rowProduct, staged, 0, completeX);
  if (clusterProductFits(few, p.launcher())) return fewRows(clusterProduct, staged, 0, completeX);
  const SkinnyArguments skinnyArguments{.rows = few.rows,
                                        .columns = few.columns,
                                        .depth = few.depth,
                                        .x = x,
                                        .weight = few.weight,
                                        .type = few.weightType,
                                        .weightChanges = p.changes(o.weight) || p.changes(o.weightScales),
                                        .epilogue = few.epilogue,
                                        .y = few.y,
                                        .yType = few.yType};
  if (skinnyFits(skinnyArguments)) return p.kernel(skinnyArguments, skinny, staged, 0, completeX);

  // 3. Many rows: cuBLASLt, or the kernel for any shape.
  if (tryCublasLt(p, o, x, staged)) return;
  p.kernel(productOf(p, o, x), product, staged, 0, [](ProductArguments& a, const Workspace& workspace) {
    if (!a.a) a.a = workspace.scratch();
  });
}

}  // namespace onehead::cuda
