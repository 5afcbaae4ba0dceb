// The operations of a program. Each is a plain description in its family's operation.h, checked when it is recorded by
// a function in operation.cc. `tensors(visit)` lists a description's tensors; `written(visit)` lists those that the
// operation writes, its output first. Letters in shapes: B batch, T length, D width; H query heads, G key/value heads,
// S head size. lib/device/operations.ts is the typed interface.
//
// Rows of a pool. A pool has R rows of decoding state (tokens, positions, caches), and a program works on B entries.
// Operations that read or write state take `rows` int32 [B], the row of each entry. Their state then has R rows, and
// what is said of "sequence b" applies to row rows[b]. An entry whose row is outside 0 ... R - 1 is idle: its output is
// zero unless stated otherwise, and no state is read or written. No two entries may have the same row. Without `rows`,
// entry b has row b, and R = B.
#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "alignment/operation.h"
#include "attention/operation.h"
#include "convolution/operation.h"
#include "decoding/operation.h"
#include "features/operation.h"
#include "kernels.h"
#include "linear/operation.h"
#include "normalization/operation.h"
#include "rows/operation.h"

namespace onehead {

/** Every operation: the type of its description, and its name in requests. */
// clang-format off
#define ONEHEAD_OPERATIONS(operation) \
  ONEHEAD_FEATURES_OPERATIONS(operation) \
  ONEHEAD_ROWS_OPERATIONS(operation) \
  ONEHEAD_CONVOLUTION_OPERATIONS(operation) \
  ONEHEAD_NORMALIZATION_OPERATIONS(operation) \
  ONEHEAD_LINEAR_OPERATIONS(operation) \
  ONEHEAD_ATTENTION_OPERATIONS(operation) \
  ONEHEAD_DECODING_OPERATIONS(operation) \
  ONEHEAD_ALIGNMENT_OPERATIONS(operation)
// clang-format on

class Arguments;

// The check of each operation: makes the description from a request's arguments. Throws Error.
#define ONEHEAD_DECLARE(Type, name) Type name(const Arguments& arguments);
ONEHEAD_OPERATIONS(ONEHEAD_DECLARE)
#undef ONEHEAD_DECLARE

class Addresses;

// The arguments of an operation's only kernel.
#define ONEHEAD_DECLARE(Type, name) Type##Arguments argumentsOf(const Addresses& p, const Type& o);
ONEHEAD_KERNELS(ONEHEAD_DECLARE, ONEHEAD_DECLARE)
#undef ONEHEAD_DECLARE

template <class, class... Types>
using VariantOf = std::variant<Types...>;
#define ONEHEAD_TYPE(Type, name) , Type
using OperationDescription = VariantOf<void ONEHEAD_OPERATIONS(ONEHEAD_TYPE)>;
#undef ONEHEAD_TYPE

struct Operation {
  std::string name;   // such as 'linear'
  std::string label;  // the caller's name for it, such as 'decoder.0.self.out'
  OperationDescription description;
};

/** A request to record an operation: its name and named tensors, numbers and strings. */
struct Request {
  std::string operation, label;
  std::map<std::string, Tensor> tensors;
  std::map<std::string, double> numbers;
  std::map<std::string, std::string> strings;
};

class Recorder;

/** Checks the request and makes the operation. The recorder allocates the output unless the request names one. Throws
 * Error. */
Operation describe(const Request& request, Recorder& recorder, Tensor& output);

/** Why the device cannot compute the operation; empty if it can. */
Reasons notSupportedReasons(const Operation& operation, const Capabilities& device);

/** Every tensor that the operation reads or writes, outputs included. */
std::vector<const Tensor*> tensorsOf(const Operation& operation);
/** The tensors that it writes, its output first. */
std::vector<const Tensor*> writtenBy(const OperationDescription& description);

}  // namespace onehead
