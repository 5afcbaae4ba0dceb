#include "storage.h"

#include <algorithm>

#include "../core/error.h"

namespace onehead::cpu {

DType computedType(DType dtype, const std::string& operation) {
  if (dtype != DType::float32 && dtype != DType::bfloat16)
    throw Error("NOT_SUPPORTED", operation + ": the CPU device supports float32 and bfloat16, not " +
                                     std::string(nameOf(dtype)) + "; load the model with one of these as dtype.");
  return dtype;
}

dnnl::memory::data_type dnnlType(DType dtype) {
  return dtype == DType::bfloat16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

dnnl::memory::data_type typeOf(const dnnl::memory::desc& description) {
#if DNNL_VERSION_MAJOR >= 3
  return description.get_data_type();
#else
  return description.data_type();
#endif
}
dnnl::memory::dims shapeOf(const dnnl::memory::desc& description) {
#if DNNL_VERSION_MAJOR >= 3
  return description.get_dims();
#else
  return description.dims();
#endif
}

namespace {

/** Elements that are read at once, few enough to be checked and converted in cache. */
constexpr int64_t pieceElements = int64_t(1) << 17;

}  // namespace

CpuStorage::CpuStorage(size_t bytes, std::shared_ptr<MemoryCounter> counter)
    : Storage(bytes), plain_(bytes, counter, Pages::small), counter_(std::move(counter)) {}

CpuStorage::CpuStorage(Source source, DType dtype, const Shape& shape, const Kernels& kernels,
                       std::shared_ptr<MemoryCounter> counter)
    : Storage(size_t(elementsOf(shape)) * bytesOf(dtype)),
      source_(std::move(source)),
      dtype_(dtype),
      kernels_(&kernels),
      counter_(std::move(counter)) {}

CpuStorage::CpuStorage(int64_t rows, int64_t columns, std::shared_ptr<MemoryCounter> counter)
    : Storage(size_t(rows * columns)),
      panels_(size_t(int8PanelBytes(rows, columns)), counter),
      columns_(columns),
      counter_(std::move(counter)) {}

std::vector<std::byte> CpuStorage::unpacked() const {
  std::vector<std::byte> rows(bytes);
  const std::byte* from = panels_.data();
  for (size_t i = 0; i < bytes; ++i)
    rows[i] = from[int8PanelIndex(int64_t(i) / columns_, int64_t(i) % columns_, columns_)];
  return rows;
}

Buffer CpuStorage::assemble(DType dtype) {
  const DType type = computedType(dtype, "load");
  size_t elementBytes = bytesOf(dtype);
  Buffer buffer(bytes / bytesOf(dtype_) * elementBytes, counter_);
  std::byte* to = buffer.data();
  std::vector<std::byte> piece;
  for (const Source::Part& part : source_.parts) {
    for (int64_t done = 0; part.file && done < part.elements; done += pieceElements) {
      const int64_t count = std::min(pieceElements, part.elements - done);
      std::byte* destination = to + size_t(done) * elementBytes;
      if (part.dtype == dtype) {
        part.read(done, count, destination, dtype_);
      } else {
        piece.resize(size_t(pieceElements) * bytesOf(part.dtype));
        part.read(done, count, piece.data(), dtype_);
        kernels_->convert(piece.data(), part.dtype, destination, type, count);
      }
    }
    to += size_t(part.elements) * elementBytes;
  }
  return buffer;
}

std::byte* CpuStorage::plain() {
  if (panels_) throw Error("NOT_SUPPORTED", "An int8 weight can only be used by linear and embed, and not be written.");
  if (plain_ || bytes == 0) return plain_.data();
  // Memory may run out at any allocation. Then nothing has changed.
  Buffer made;
  if (packed_.empty()) {
    made = assemble(dtype_);
    source_.parts.clear();  // closes the file if this was its last user
  } else {
    Packed& from = packed_.front();
    made = Buffer(bytes, counter_);
    const bool widened = isWidened(from.like);
    Buffer wide(widened ? from.like.get_size() : 0, counter_);
    dnnl::engine engine = from.memory.get_engine();
    dnnl::memory to(from.like, engine, widened ? wide.data() : made.data());
    dnnl::stream stream(engine);
    dnnl::reorder(from.memory, to).execute(stream, from.memory, to);
    stream.wait();
    if (widened)
      kernels_->convert(wide.data(), DType::float32, made.data(), computedType(dtype_, "load"),
                        int64_t(bytes / bytesOf(dtype_)));
  }
  plain_ = std::move(made);
  return plain_.data();
}

bool CpuStorage::packs(const Tensor& weight) const {
  return weight.offset == 0 && weight.bytes() == bytes && (!isPlain() || int16Panels_);
}

CpuStorage::Int16Panels CpuStorage::int16Panels(int64_t rows, int64_t columns, int64_t kernel) {
  const size_t elements = size_t(int16PanelElements(rows, columns));
  const auto layout = [&] {
    auto* panels = reinterpret_cast<int16_t*>(int16Panels_.data());
    return Int16Panels{panels, reinterpret_cast<const float*>(panels + elements)};
  };
  if (int16Panels_) return layout();
  if (!packed_.empty()) plain();  // the source may be gone
  const size_t count = bytes / bytesOf(dtype_);
  const Buffer wide = plain_ ? Buffer(count * sizeof(float), counter_) : assemble(DType::float32);
  if (plain_)
    kernels_->convert(plain_.data(), computedType(dtype_, "load"), wide.data(), DType::float32, int64_t(count));
  const auto* from = reinterpret_cast<const float*>(wide.data());
  const size_t padded = size_t(rows + integerPanelRows - 1) / integerPanelRows * integerPanelRows;
  int16Panels_ = Buffer(elements * sizeof(int16_t) + padded * sizeof(float), counter_);
  auto* panels = reinterpret_cast<int16_t*>(int16Panels_.data());
  auto* scales = reinterpret_cast<float*>(panels + elements);
  std::vector<int16_t> row(static_cast<size_t>(columns));
  for (int64_t n = 0; n < rows; ++n) {
    scales[n] = kernels_->quantizeInt16(from + n * columns, columns, row.data());
    for (int64_t k = 0; k < columns; ++k)
      panels[int16PanelIndex(n, k % kernel * (columns / kernel) + k / kernel, columns)] = row[size_t(k)];
  }
  return layout();
}

dnnl::memory CpuStorage::packed(const dnnl::memory::desc& wanted, const dnnl::memory::desc& like,
                                const dnnl::engine& engine, dnnl::stream& stream) {
  for (Packed& packed : packed_)
    if (packed.memory.get_desc() == wanted) return packed.memory;
  Buffer assembled;
  dnnl::memory from;
  if (packed_.empty()) {
    assembled = assemble(isWidened(like) ? DType::float32 : dtype_);
    from = dnnl::memory(like, engine, assembled.data());
  } else {
    from = packed_.front().memory;
  }
  Packed packed{{}, Buffer(wanted.get_size(), counter_), like};
  packed.memory = dnnl::memory(wanted, engine, packed.buffer.data());
  dnnl::reorder(from, packed.memory).execute(stream, from, packed.memory);
  stream.wait();
  packed_.push_back(std::move(packed));
  source_.parts.clear();  // closes the file if this was its last user
  return packed_.back().memory;
}

}  // namespace onehead::cpu
