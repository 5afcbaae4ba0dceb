// What is written to tensors and read of them in one piece of work.
#pragma once

#include <memory>
#include <vector>

#include "device_binding.h"

namespace onehead::addon {

/** Pieces of a device's tensors, taken from JavaScript and given back to it. Shared with the work that moves them. */
struct Transfer {
  std::vector<Piece> writes, reads;
  std::vector<DType> types;  // of what is read

  /** `writes`: [tensor, typed array, element][]; `reads`: [tensor, element, elements][]; either may be undefined. */
  static std::shared_ptr<Transfer> of(const Napi::Value& writes, const Napi::Value& reads,
                                      const std::shared_ptr<SharedDevice>& device, const char* operation);
  /** On the device's thread. */
  void write(Backend& backend);
  /** On the device's thread, once. */
  void read(Backend& backend);
  /** What was read, in order. */
  Napi::Array arrays(Napi::Env env) const;
};

/** The rows of some tensors whose flag is set: what a run reads of those that ended in it. */
class RowReads {
 public:
  /** `tensors`: each with as many rows as there are flags. Undefined: nothing is read. */
  static std::shared_ptr<RowReads> of(const Napi::Value& tensors, const Tensor& flags,
                                      const std::shared_ptr<SharedDevice>& device, const char* operation);
  /** On the device's thread, once. */
  void read(Backend& backend);
  /** [row, a typed array of each tensor, ...] for each row. */
  Napi::Array arrays(Napi::Env env) const;

 private:
  Tensor flags_;
  std::vector<Tensor> tensors_;
  std::vector<int32_t> rows_;
  std::vector<DType> types_;
  std::vector<Piece> pieces_;  // of the first row, then of the next
};

}  // namespace onehead::addon
