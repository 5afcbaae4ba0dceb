// A file mapped into memory, read-only: checkpoints are uploaded from it with no copy in JavaScript.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace onehead {

class MappedFile {
 public:
  /** Throws Error MODEL_INVALID when the file cannot be opened or mapped. */
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string path;
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  /** Tells the system that these bytes were used up: their pages leave this process's memory. */
  void release(size_t offset, size_t bytes) const;

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace onehead
