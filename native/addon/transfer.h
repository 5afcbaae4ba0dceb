// Writes to and reads from several tensors in one job.
#pragma once

#include <memory>
#include <vector>

#include "device_binding.h"

namespace onehead::addon {

/** Writes and reads of a device's tensors, shared between JavaScript and the job that performs them. */
struct Transfer {
  std::vector<Piece> writes, reads;
  std::vector<DType> types;  // of the reads

  /** `writes`: [tensor, typed array, element][]; `reads`: [tensor, element, elements][]; either may be undefined. */
  static std::shared_ptr<Transfer> of(const Napi::Value& writes, const Napi::Value& reads,
                                      const std::shared_ptr<SharedDevice>& device, const char* operation);
  /** Called on the device's thread. */
  void write(Backend& backend);
  /** Called on the device's thread, once. */
  void read(Backend& backend);
  /** The results of the reads, in order. */
  Napi::Array arrays(Napi::Env env) const;
};

/** The rows of some tensors whose flag is set: what is read of the sequences that ended in a run. */
class RowReads {
 public:
  /** `tensors`: each with as many rows as there are flags; if undefined, nothing is read. */
  static std::shared_ptr<RowReads> of(const Napi::Value& tensors, const Tensor& flags,
                                      const std::shared_ptr<SharedDevice>& device, const char* operation);
  /** Called on the device's thread, once. */
  void read(Backend& backend);
  /** [row, a typed array of each tensor, ...] for each row. */
  Napi::Array arrays(Napi::Env env) const;

 private:
  Tensor flags_;
  std::vector<Tensor> tensors_;
  std::vector<int32_t> rows_;
  std::vector<DType> types_;
  std::vector<Piece> pieces_;  // row by row
};

}  // namespace onehead::addon
