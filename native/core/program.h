// Recording: a straight list of operations, and a plan of where each temporary lives in one arena.
#pragma once

#include <cstdint>
#include <vector>

#include "../operations/operations.h"
#include "capabilities.h"

namespace onehead {

struct Temporary {
  size_t bytes = 0;
  size_t offset = 0;                    // in the arena, known after planning
  int64_t firstUse = -1, lastUse = -1;  // operation indices
};

/** What a backend prepares: the operations and the layout of the temporaries. */
struct Plan {
  std::string name;
  std::vector<Operation> operations;
  std::vector<Temporary> temporaries;
  size_t arenaBytes = 0;
  /** Fills the arena with NaN before each run, so that reading what was never written shows. For tests. */
  bool poison = false;
};

class Recorder {
 public:
  /** For a device that computes this. */
  explicit Recorder(Capabilities capabilities);
  /** A tensor that lives only inside this program. */
  Tensor temporary(DType dtype, Shape shape);
  /** Records one operation and gives its output. Throws Error when the request is wrong, and NOT_SUPPORTED with the
   * reasons where the device does not compute it. */
  Tensor record(const Request& request);
  /** Ends the recording: plans the arena. The recorder takes nothing more after this. */
  Plan finish(std::string name, bool poison);
  uint64_t identity() const { return identity_; }
  const Capabilities& capabilities() const { return capabilities_; }

 private:
  const Capabilities capabilities_;
  uint64_t identity_;
  bool finished_ = false;
  Plan plan_;
};

}  // namespace onehead
