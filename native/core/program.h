// Recording a program: a list of operations, and the offsets of its temporaries in one arena.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "../operations/operations.h"
#include "capabilities.h"

namespace onehead {

struct Temporary {
  size_t bytes = 0;
  size_t offset = 0;                    // in the arena, once planned
  int64_t firstUse = -1, lastUse = -1;  // operation indices
};

/** What a backend prepares: the operations, and the layout of the temporaries. */
struct Plan {
  std::string name;
  std::vector<Operation> operations;
  std::vector<Temporary> temporaries;
  size_t arenaBytes = 0;
  /** For tests: fills the arena with NaN before each run, so that reads of unwritten memory are noticed. */
  bool poison = false;
  /** CPU: whether products of many rows with bfloat16 weights are computed in 16-bit integers (true) or by oneDNN.
   * Absent: in integers if the kernels have no products of bfloat16. */
  std::optional<bool> integerProducts;
};

class Recorder {
 public:
  /** Records for a device with these capabilities. */
  explicit Recorder(Capabilities capabilities);
  /** A tensor that exists only in this program. */
  Tensor temporary(DType dtype, Shape shape);
  /** Records one operation and returns its output. Throws Error if the request is invalid; NOT_SUPPORTED, with the
   * reasons, if the device cannot compute it. */
  Tensor record(const Request& request);
  /** Ends the recording and plans the arena. Nothing can be recorded afterwards. */
  Plan finish(std::string name, bool poison, std::optional<bool> integerProducts);
  uint64_t identity() const { return identity_; }
  const Capabilities& capabilities() const { return capabilities_; }

 private:
  const Capabilities capabilities_;
  uint64_t identity_;
  bool finished_ = false;
  Plan plan_;
};

}  // namespace onehead
