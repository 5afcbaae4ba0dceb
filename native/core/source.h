// The contents of a constant.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dtype.h"
#include "encoding.h"
#include "weights_file.h"

namespace onehead {

/** A constant's contents: consecutive runs of elements, each from a file, or zero. */
struct Source {
  struct Part {
    /** Scales of `int8` and `int16`, one for each `each` elements; elements are divided by them, or multiplied if
     * `factor`. */
    struct Scales {
      size_t offset = 0;  // bytes into the file
      DType dtype = DType::float32;
      int64_t each = 0;  // elements
      bool factor = false;
    };

    std::shared_ptr<WeightsFile> file;  // null: zeros
    size_t offset = 0;                  // bytes into the file
    DType dtype = DType::float32;       // that `read` returns; float32 unless the encoding is plain
    Encoding encoding = Encoding::plain;
    Scales scales;
    int64_t elements = 0;
    std::string name;  // of the tensor, for messages

    /** Size in the file of the elements, and of their scales. */
    size_t bytes() const;
    size_t scaleBytes() const;

    /**
     * Reads `count` elements from `first` on (a multiple of `decodingStep`) as type `dtype`. Throws Error MODEL_INVALID
     * if the file cannot be read, or if an element is not finite in `stored`, the type in which it will be kept: such
     * weights would give no text, which looks like silence.
     */
    void read(int64_t first, int64_t count, void* to, DType stored) const;

    /** Reads int8 elements without applying scales, `scales.each` per row, and the factor of each row. Throws Error
     * MODEL_INVALID if the file cannot be read or a factor is not finite. */
    void readRows(int64_t firstRow, int64_t rows, int8_t* to, float* factors) const;

   private:
    void decode(int64_t first, int64_t count, float* to) const;
  };
  std::vector<Part> parts;
};

}  // namespace onehead
