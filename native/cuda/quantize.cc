#include "quantize.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "../core/error.h"
#include "pieces.h"
#include "storage.h"

namespace onehead::cuda {

namespace {

class Quantizer {
 public:
  Quantizer(const Shape& shape, const std::shared_ptr<Context>& context)
      : columns_(shape[1]),
        context_(*context),
        data_(std::make_shared<CudaStorage>(size_t(shape[0] * shape[1]), context)),
        scales_(std::make_shared<CudaStorage>(size_t(shape[0]) * sizeof(float), context)),
        errors_(size_t(shape[0]) * sizeof(float), context),
        factors_(size_t(shape[0])),
        pieces_(*context) {
    if (size_t(columns_) * sizeof(float) > Context::pieceBytes)
      throw Error("NOT_SUPPORTED", "quantize: the CUDA device supports rows of up to " +
                                       std::to_string(Context::pieceBytes / sizeof(float)) + " elements, not " +
                                       std::to_string(columns_) + ".");
  }

  void add(const Source::Part& part) {
    const int64_t rows = part.elements / columns_;
    if (part.file) {
      if (part.encoding == Encoding::int8 && part.scales.each == columns_)
        copyRows(part, rows);
      else
        quantizeOnDevice(part, rows);
    }
    next_ += rows;  // without a file: zeros, as the memory is already
  }

  Backend::Quantized finish() {
    context_.synchronize("quantizing weights");
    std::vector<float> lost(factors_.size());
    download(context_, lost.data(), errors_.data(), errors_.bytes());
    double squares = 0;
    int64_t quantizedRows = 0;
    for (const float one : lost) {
      if (one <= 0) continue;  // zeros, or not quantized here
      squares += double(one) * double(one);
      ++quantizedRows;
    }
    return {data_, scales_, quantizedRows > 0 ? std::sqrt(squares / double(quantizedRows)) : 0};
  }

 private:
  /** Copies int8 elements and scales from the file. */
  void copyRows(const Source::Part& part, int64_t rows) {
    const int64_t step = int64_t(Context::pieceBytes) / columns_;
    for (int64_t done = 0; done < rows; done += step) {
      const int64_t count = std::min(step, rows - done);
      const auto& piece = pieces_.next();
      part.readRows(done, count, reinterpret_cast<int8_t*>(piece.host), factors_.data() + done);
      context_.check(cudaMemcpyAsync(data_->plain() + (next_ + done) * columns_, piece.host, size_t(count * columns_),
                                     cudaMemcpyHostToDevice, context_.stream()),
                     "uploading weights");
      pieces_.sent();
    }
    context_.synchronize("uploading weights");  // `upload` reuses the pinned buffers
    upload(context_, scales_->plain() + size_t(next_) * sizeof(float), factors_.data(), size_t(rows) * sizeof(float));
  }

  /** Quantizes on the device, which reads the pinned buffers directly. */
  void quantizeOnDevice(const Source::Part& part, int64_t rows) {
    // Encoded elements can only be read from multiples of decodingStep on.
    const int64_t maxRows = int64_t(Context::pieceBytes / bytesOf(part.dtype)) / columns_;
    const int64_t unit = decodingStep / std::gcd(decodingStep, columns_);
    if (part.encoding != Encoding::plain && maxRows < unit)
      throw Error("NOT_SUPPORTED", "quantize: encoded rows of " + std::to_string(columns_) +
                                       " elements exceed the CUDA device's transfer buffer; convert the checkpoint "
                                       "to a floating type.");
    const int64_t step = maxRows >= unit ? maxRows / unit * unit : maxRows;
    for (int64_t done = 0; done < rows; done += step) {
      const int64_t count = std::min(step, rows - done);
      const auto& piece = pieces_.next();
      part.read(done * columns_, count * columns_, piece.host, DType::float32);
      const DriverLock lock;  // the launch may load the kernel's code
      QuantizeRowsArguments rowsOf{};
      rowsOf.rows = count;
      rowsOf.width = rowsOf.stride = columns_;
      rowsOf.x = piece.device;
      rowsOf.xType = part.dtype;
      rowsOf.y = reinterpret_cast<int8_t*>(data_->plain()) + (next_ + done) * columns_;
      rowsOf.scales = reinterpret_cast<float*>(scales_->plain()) + next_ + done;
      rowsOf.lost = reinterpret_cast<float*>(errors_.data()) + next_ + done;
      context_.check(quantizeRows(rowsOf, context_.launcher()), "quantizing weights");
      pieces_.sent();
    }
  }

  const int64_t columns_;
  Context& context_;
  std::shared_ptr<CudaStorage> data_, scales_;
  Buffer errors_;
  std::vector<float> factors_;
  Pieces pieces_;
  int64_t next_ = 0;  // next row
};

}  // namespace

Backend::Quantized quantized(const Source& source, const Shape& shape, const std::shared_ptr<Context>& context) {
  Quantizer quantizer(shape, context);
  for (const Source::Part& part : source.parts) quantizer.add(part);
  return quantizer.finish();
}

}  // namespace onehead::cuda
