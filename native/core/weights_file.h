// A file of weights, open for reading. It is not memory-mapped: if a mapped file is truncated, the process crashes.
#pragma once

#include <cstddef>
#include <string>

namespace onehead {

class WeightsFile {
 public:
  /** Throws Error MODEL_INVALID if the file cannot be opened. */
  explicit WeightsFile(const std::string& path);
  ~WeightsFile();
  WeightsFile(const WeightsFile&) = delete;
  WeightsFile& operator=(const WeightsFile&) = delete;

  const std::string path;
  /** Size in bytes when it was opened. */
  size_t size() const { return size_; }
  /** Reads exactly these bytes. Throws Error MODEL_INVALID if the file ends before or cannot be read. */
  void read(size_t offset, void* to, size_t bytes) const;

 private:
  int descriptor_;
  size_t size_;
};

}  // namespace onehead
