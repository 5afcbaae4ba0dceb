#include "mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "error.h"

namespace onehead {

namespace {
[[noreturn]] void fail(const std::string& path, const char* what) {
  throw Error("MODEL_INVALID", "Cannot " + std::string(what) + " " + path + ": " + std::strerror(errno) + ".");
}
}  // namespace

MappedFile::MappedFile(const std::string& path) : path(path) {
  int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail(path, "open");
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) {
    int error = errno;
    ::close(descriptor);
    errno = error;
    fail(path, "read the size of");
  }
  size_ = size_t(status.st_size);
  if (size_ > 0) {
    void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    int error = errno;
    ::close(descriptor);
    errno = error;
    if (mapped == MAP_FAILED) fail(path, "map");
    data_ = static_cast<std::byte*>(mapped);
  } else {
    ::close(descriptor);
  }
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(data_, size_);
}

void MappedFile::release(size_t offset, size_t bytes) const {
  // Whole pages inside the range only: the neighbours may still be wanted.
  static const size_t page = size_t(::sysconf(_SC_PAGESIZE));
  size_t begin = (offset + page - 1) / page * page, end = (offset + bytes) / page * page;
  if (end > begin) ::madvise(data_ + begin, end - begin, MADV_DONTNEED);
}

}  // namespace onehead
