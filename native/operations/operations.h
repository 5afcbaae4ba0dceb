// The operations that a program is made of. Each is a plain description in its family's operation.h, checked when it is
// recorded by the function in operation.cc beside it. `tensors(visit)` lists a description's tensors, `written(visit)`
// those that the operation writes, its output first. Shapes: B batch, T length, D width; H query heads, G key/value
// heads, S head size. See lib/device/operations.ts for the typed face.
//
// Rows of a pool. A pool keeps R rows of decoding state (tokens, positions, caches), and a program works on B entries.
// Operations that read or write such state take `rows` int32 [B], which says on which row each entry works: their state
// has R rows then, and what is said below of "sequence b" is said of row rows[b]. An entry whose row is outside of
// 0 ... R - 1 is idle: its output is zero unless said otherwise, and nothing of the pool is read or written. Two
// entries never name the same row. Absent: entry b works on row b, and R = B.
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
#include "projected_attention/operation.h"
#include "rows/operation.h"

namespace onehead {

/** Every operation: the type of its description, and the name that it is recorded by. */
// clang-format off
#define ONEHEAD_OPERATIONS(operation) \
  ONEHEAD_FEATURES_OPERATIONS(operation) \
  ONEHEAD_ROWS_OPERATIONS(operation) \
  ONEHEAD_CONVOLUTION_OPERATIONS(operation) \
  ONEHEAD_NORMALIZATION_OPERATIONS(operation) \
  ONEHEAD_LINEAR_OPERATIONS(operation) \
  ONEHEAD_ATTENTION_OPERATIONS(operation) \
  ONEHEAD_PROJECTED_ATTENTION_OPERATIONS(operation) \
  ONEHEAD_DECODING_OPERATIONS(operation) \
  ONEHEAD_ALIGNMENT_OPERATIONS(operation)
// clang-format on

class Arguments;

// The check of each: reads a request's arguments and makes the description. Throws Error.
#define ONEHEAD_DECLARE(Type, name) Type name(const Arguments& arguments);
ONEHEAD_OPERATIONS(ONEHEAD_DECLARE)
#undef ONEHEAD_DECLARE

class Addresses;

// What the one kernel of an operation takes whose tensors lie there.
#define ONEHEAD_DECLARE(Type, name) Type##Arguments argumentsOf(const Addresses& p, const Type& o);
ONEHEAD_KERNELS(ONEHEAD_DECLARE, ONEHEAD_DECLARE)
#undef ONEHEAD_DECLARE

template <class, class... Types>
using VariantOf = std::variant<Types...>;
#define ONEHEAD_TYPE(Type, name) , Type
using OperationDescription = VariantOf<void ONEHEAD_OPERATIONS(ONEHEAD_TYPE)>;
#undef ONEHEAD_TYPE

struct Operation {
  std::string name;   // 'linear'
  std::string label;  // what the caller calls it: 'decoder.0.self.out'
  OperationDescription description;
};

/** What a caller asks to record: an operation's name with named tensors, numbers and strings. */
struct Request {
  std::string operation, label;
  std::map<std::string, Tensor> tensors;
  std::map<std::string, double> numbers;
  std::map<std::string, std::string> strings;
};

class Recorder;

/** Checks the request and makes the operation, its output allocated by the recorder unless the request names one.
 * Throws Error. */
Operation describe(const Request& request, Recorder& recorder, Tensor& output);

/** Why a device cannot compute the operation, as its description's `notSupported` says; it can where there is nothing.
 */
Reasons notSupportedReasons(const Operation& operation, const Capabilities& device);

/** Every tensor that the operation reads or writes, outputs included. */
std::vector<const Tensor*> tensorsOf(const Operation& operation);
/** Those of them that it writes, its output first. */
std::vector<const Tensor*> writtenBy(const OperationDescription& description);

}  // namespace onehead
