#include "algorithms.h"

#include <algorithm>

#include "core/error.h"

namespace onehead {

namespace {

constexpr AttentionDeclaration declarations[] = {
    {.algorithm = AttentionAlgorithm::multiHead,
     .name = "multi-head",
     .lengthFirst = false,
     .oneKeyValueHead = false,
     .outputsScores = true,
     .supportsPools = false,
     .supportsBlockTable = false,
     .supportsInt8 = false},
    {.algorithm = AttentionAlgorithm::multiQuery,
     .name = "multi-query",
     .lengthFirst = true,
     .oneKeyValueHead = true,
     .outputsScores = false,
     .supportsPools = false,
     .supportsBlockTable = false,
     .supportsInt8 = false},
    {.algorithm = AttentionAlgorithm::multiQueryReshaped,
     .name = "multi-query-1",
     .lengthFirst = false,
     .oneKeyValueHead = true,
     .outputsScores = false,
     .supportsPools = false,
     .supportsBlockTable = false,
     .supportsInt8 = false},
    {.algorithm = AttentionAlgorithm::memoryEfficient,
     .name = "memory-efficient",
     .lengthFirst = false,
     .oneKeyValueHead = false,
     .outputsScores = true,
     .supportsPools = true,
     .supportsBlockTable = false,
     .supportsInt8 = false},
    {.algorithm = AttentionAlgorithm::splitKeyValue,
     .name = "split-kv",
     .lengthFirst = false,
     .oneKeyValueHead = false,
     .outputsScores = true,
     .supportsPools = true,
     .supportsBlockTable = true,
     .supportsInt8 = true},
};

/** Reasons that hold for every algorithm on this device. */
Reasons reasonsOfDevice(const AttentionCase& given, const Capabilities& device) {
  Reasons reasons;
  device.checkTypes({given.type}, reasons);
  const auto& [minimum, maximum, step] = device.headSizes;
  const int64_t size = given.headSize;
  const std::string attention = std::string("Attention on ") + device.title + " supports ";
  if (size < minimum || size > maximum || size % step) {
    const std::string sizes = minimum == 1 ? "up to " + std::to_string(maximum)
                                           : "from " + std::to_string(minimum) + " to " + std::to_string(maximum) +
                                                 " in multiples of " + std::to_string(step);
    reasons.push_back(attention + "head sizes " + sizes + ", not " + std::to_string(size) + ".");
  }
  if (given.alignment < device.rowAlignment)
    reasons.push_back(attention + "rows aligned to " + std::to_string(device.rowAlignment) + " bytes, not to " +
                      std::to_string(given.alignment) + ".");
  return reasons;
}

Reasons reasonsOfAlgorithm(const AttentionDeclaration& algorithm, const AttentionCase& given) {
  Reasons reasons;
  auto refuse = [&](const std::string& why) { reasons.push_back(quoted(algorithm) + " " + why + "."); };
  if (algorithm.oneKeyValueHead && given.keyValueHeads != 1)
    refuse("requires keyValueHeads to be 1, not " + std::to_string(given.keyValueHeads));
  if (given.scores && !algorithm.outputsScores) refuse("cannot output the scores of single heads");
  if (given.source && !algorithm.supportsBlockTable) refuse("does not support a block table (the argument source)");
  if (given.pooled && !algorithm.supportsPools) refuse("does not support rows or ranges of a pool");
  if (given.pooled && algorithm.supportsPools && given.scores && given.queries != 1)
    refuse("outputs scores from rows of a pool for one query per entry only, not for " + std::to_string(given.queries));
  if (given.bytes && !algorithm.supportsInt8) refuse("does not support int8 keys and values");
  return reasons;
}

std::string description(const AttentionCase& given) {
  return std::string(nameOf(given.type)) + ", queries " + std::to_string(given.queries) + ", keys " +
         std::to_string(given.keys) + ", heads " + std::to_string(given.heads) + ", key/value heads " +
         std::to_string(given.keyValueHeads) + ", head size " + std::to_string(given.headSize);
}

[[noreturn]] void refuse(const AttentionDeclaration& wanted, const AttentionCase& given, const Capabilities& device) {
  const std::string received = description(given);
  std::string message =
      "attention: " + quoted(wanted) + " on '" + device.device + "' cannot compute this case (" + received + ").";
  auto tell = [&](const Reasons& reasons) {
    for (const std::string& reason : reasons) message += " " + reason;
  };
  const Reasons all = reasonsOfDevice(given, device);
  tell(all);
  tell(reasonsOfAlgorithm(wanted, given));
  if (all.empty()) {
    std::string instead;
    bool otherOrder = false;
    for (const AttentionDeclaration& one : declarations)
      if (reasonsOfAlgorithm(one, given).empty()) {
        instead += (instead.empty() ? "" : ", ") + quoted(one);
        otherOrder |= one.lengthFirst != wanted.lengthFirst;
      }
    if (!instead.empty())
      message += " Algorithms that can: " + instead + (otherOrder ? "; they take tensors as [batch, length]." : ".");
    else
      for (const AttentionDeclaration& one : declarations)
        if (&one != &wanted) tell(reasonsOfAlgorithm(one, given));
  }
  Error error("NOT_SUPPORTED", message);
  error.operation = "attention";
  error.received = received;
  throw error;
}

}  // namespace

std::string quoted(const AttentionDeclaration& algorithm) {
  std::string text(1, '\'');
  text += algorithm.name;
  text += '\'';
  return text;
}

std::span<const AttentionDeclaration> attentionDeclarations() { return declarations; }

const AttentionDeclaration& declarationOf(AttentionAlgorithm algorithm) {
  return *std::ranges::find(declarations, algorithm, &AttentionDeclaration::algorithm);
}

void requireConsistent(const AttentionCase& given) {
  if (given.heads % given.keyValueHeads)
    throw Error::argumentError("INVALID_ARGUMENT", "attention", "keyValueHeads",
                               "a divisor of " + std::to_string(given.heads) + " heads",
                               std::to_string(given.keyValueHeads));
  if (given.queries > given.keys && (given.causal || given.append))
    throw Error::argumentError(
        "INVALID_SHAPE", "attention", "query",
        "at most as long as the keys (" + std::to_string(given.keys) + ") when causal or appending",
        std::to_string(given.queries));
}

Reasons notSupportedReasons(const AttentionDeclaration& algorithm, const AttentionCase& given,
                            const Capabilities& device) {
  Reasons reasons = reasonsOfDevice(given, device);
  for (std::string& reason : reasonsOfAlgorithm(algorithm, given)) reasons.push_back(std::move(reason));
  return reasons;
}

std::span<const AttentionAlgorithm> preferredAlgorithms(int64_t queries) {
  // With one query row per sequence, reading the keys and values is the bound: split-kv reads them once with all
  // threads. More rows share each tile of keys, and memory-efficient keeps their scores out of memory.
  static constexpr AttentionAlgorithm one[] = {AttentionAlgorithm::splitKeyValue, AttentionAlgorithm::memoryEfficient};
  static constexpr AttentionAlgorithm more[] = {AttentionAlgorithm::memoryEfficient, AttentionAlgorithm::splitKeyValue};
  return queries == 1 ? std::span<const AttentionAlgorithm>(one) : std::span<const AttentionAlgorithm>(more);
}

AttentionAlgorithm chooseAlgorithm(const AttentionDeclaration* wanted, const AttentionCase& given,
                                   const Capabilities& device) {
  if (wanted) {
    if (notSupportedReasons(*wanted, given, device).empty()) return wanted->algorithm;
    refuse(*wanted, given, device);
  }
  const auto preferred = preferredAlgorithms(given.queries);
  for (AttentionAlgorithm algorithm : preferred)
    if (notSupportedReasons(declarationOf(algorithm), given, device).empty()) return algorithm;
  refuse(declarationOf(preferred.front()), given, device);
}

}  // namespace onehead
