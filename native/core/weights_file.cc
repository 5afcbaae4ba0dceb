#include "weights_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "error.h"

namespace onehead {

namespace {
[[noreturn]] void fail(const std::string& path, const char* what) {
  throw Error("MODEL_INVALID", "Cannot " + std::string(what) + " " + path + ": " + std::strerror(errno) + ".");
}
}  // namespace

// O_NONBLOCK: opening a pipe would wait for a writer.
WeightsFile::WeightsFile(const std::string& path)
    : path(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  if (descriptor_ < 0) fail(path, "open");
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) {
    const int error = errno;
    ::close(descriptor_);
    errno = error;
    fail(path, "read the size of");
  }
  if (!S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    throw Error("MODEL_INVALID", "Expected " + path + " to be a file of weights but it is no regular file.");
  }
  size_ = size_t(status.st_size);
}

WeightsFile::~WeightsFile() { ::close(descriptor_); }

void WeightsFile::read(size_t offset, void* to, size_t bytes) const {
  constexpr size_t maxBytes = size_t(1) << 30;  // Linux reads at most 2 GiB at once
  auto* destination = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t count = ::pread(descriptor_, destination, std::min(bytes, maxBytes), off_t(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(path, "read");
    if (count == 0)
      throw Error("MODEL_INVALID", path + " ended at byte " + std::to_string(offset) +
                                       " while it was read: it is incomplete; download or export it again.");
    destination += count;
    offset += size_t(count);
    bytes -= size_t(count);
  }
}

}  // namespace onehead
