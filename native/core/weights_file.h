// A file of weights, open for reading. Not mapped into memory: a file that is cut while it is mapped kills the process.
#pragma once

#include <cstddef>
#include <string>

namespace onehead {

class WeightsFile {
 public:
  /** Throws Error MODEL_INVALID when the file cannot be opened. */
  explicit WeightsFile(const std::string& path);
  ~WeightsFile();
  WeightsFile(const WeightsFile&) = delete;
  WeightsFile& operator=(const WeightsFile&) = delete;

  const std::string path;
  /** Bytes when it was opened. */
  size_t size() const { return size_; }
  /** Reads exactly these bytes. Throws Error MODEL_INVALID where the file ends before them, or cannot be read. */
  void read(size_t offset, void* to, size_t bytes) const;

 private:
  int descriptor_;
  size_t size_;
};

}  // namespace onehead
