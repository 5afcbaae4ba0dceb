// What each attention algorithm supports, and why a case is not supported. The recorder's checks use it, and so does
// lib/attention through the addon.
#pragma once

#include <span>
#include <string>

#include "core/capabilities.h"
#include "core/kinds.h"

namespace onehead {

/** What an algorithm supports. lib/attention/variants.ts describes what it does and costs. */
struct AttentionDeclaration {
  AttentionAlgorithm algorithm;
  const char* name;
  /** The order of the first two dimensions is [length, batch]. */
  bool lengthFirst;
  /** There is a single key/value head. */
  bool oneKeyValueHead;
  /** It can output the scores of single heads. */
  bool outputsScores;
  /** It supports rows of a pool, and ranges of a pool of positions. */
  bool supportsPools;
  /** It supports a block table (`source`). */
  bool supportsBlockTable;
  /** It supports int8 keys and values. */
  bool supportsInt8;
};
/** The algorithm's name in quotation marks. */
std::string quoted(const AttentionDeclaration& algorithm);
std::span<const AttentionDeclaration> attentionDeclarations();
const AttentionDeclaration& declarationOf(AttentionAlgorithm algorithm);

/** The properties of a case of attention that decide whether it is supported. */
struct AttentionCase {
  DType type = DType::float32;  // of the query
  int64_t heads = 1, keyValueHeads = 1, headSize = 1, queries = 1, keys = 1;
  bool causal = false, append = false, scores = false;
  bool pooled = false;  // uses rows or ranges of a pool
  bool source = false;  // has a block table
  bool bytes = false;   // int8 keys and values
  /** The alignment of all rows of all tensors: the largest power of two, in bytes, up to 64. */
  int64_t alignment = 64;
};

/** Throws Error, naming the argument, if the numbers contradict each other for any algorithm and device. */
void requireConsistent(const AttentionCase& given);
/** Why the algorithm does not support the case on the device; empty if it does. */
Reasons notSupportedReasons(const AttentionDeclaration& algorithm, const AttentionCase& given,
                            const Capabilities& device);

/** The algorithms that 'auto' tries, in this order; it uses the first that supports the case. */
std::span<const AttentionAlgorithm> preferredAlgorithms(int64_t queries);

/** Returns the wanted algorithm; for null ('auto') the first preferred one that supports the case. Throws Error
 * NOT_SUPPORTED with the reasons, and with the algorithms that support the case, or with every algorithm's reasons if
 * none does. */
AttentionAlgorithm chooseAlgorithm(const AttentionDeclaration* wanted, const AttentionCase& given,
                                   const Capabilities& device);

}  // namespace onehead
