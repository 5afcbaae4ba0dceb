// The exception of native code. The addon converts it to the OneheadError of lib/errors.ts.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace onehead {

/** `code` is one of `errorCodes` in lib/errors.ts. */
struct Error : std::runtime_error {
  std::string code, operation, argument, expected, received;

  Error(std::string code, const std::string& message) : std::runtime_error(message), code(std::move(code)) {}

  /** "linear: expected bias to be [384] but received [383]." */
  static Error argumentError(const char* code, std::string operation, std::string argument, std::string expected,
                             std::string received) {
    Error error(code, operation + ": expected " + argument + " to be " + expected + " but received " + received + ".");
    error.operation = std::move(operation);
    error.argument = std::move(argument);
    error.expected = std::move(expected);
    error.received = std::move(received);
    return error;
  }
};

}  // namespace onehead
