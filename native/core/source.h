// What a constant is made of.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dtype.h"
#include "encoding.h"
#include "weights_file.h"

namespace onehead {

/** A constant's contents: runs of elements, in order, each from a file or zeros. */
struct Source {
  struct Part {
    /** What `int8` and `int16` are divided by, or multiplied by: one number for each `each` elements. */
    struct Scales {
      size_t offset = 0;  // bytes into the file
      DType dtype = DType::float32;
      int64_t each = 0;  // elements
      bool factor = false;
    };

    std::shared_ptr<WeightsFile> file;  // null: zeros
    size_t offset = 0;                  // bytes into the file
    DType dtype = DType::float32;       // what `read` gives: float32 where the encoding is not plain
    Encoding encoding = Encoding::plain;
    Scales scales;
    int64_t elements = 0;
    std::string name;  // the tensor's, for messages

    /** The bytes that the elements, and that their scales, take in the file. */
    size_t bytes() const;
    size_t scaleBytes() const;

    /**
     * Reads `count` elements from element `first` on, a multiple of `decodingStep`, as numbers of `dtype`. Throws Error
     * MODEL_INVALID where the file cannot be read, and where one of them is not a finite number in `stored`, the type
     * in which it will be kept: no text can come of such weights, and they would look like silence.
     */
    void read(int64_t first, int64_t count, void* to, DType stored) const;

    /** The whole numbers of int8 elements as they are, `scales.each` of them a row, and the factor of each row. Throws
     * Error MODEL_INVALID where the file cannot be read, or a factor is not a finite number. */
    void readRows(int64_t firstRow, int64_t rows, int8_t* to, float* factors) const;

   private:
    void decode(int64_t first, int64_t count, float* to) const;
  };
  std::vector<Part> parts;
};

}  // namespace onehead
