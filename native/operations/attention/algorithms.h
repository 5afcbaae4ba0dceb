// The attention algorithms: what each takes, and why one does not compute a case. Checks of what is recorded ask here,
// and so does lib/attention by way of the addon.
#pragma once

#include <span>
#include <string>

#include "core/capabilities.h"
#include "core/kinds.h"

namespace onehead {

/** What an algorithm takes; what it does, and what it costs, is in lib/attention/variants.ts. */
struct AttentionDeclaration {
  AttentionAlgorithm algorithm;
  const char* name;
  /** The order of the first two dimensions is [length, batch]. */
  bool lengthFirst;
  /** Key and value have one head alone. */
  bool oneKeyValueHead;
  bool givesScores;
  /** It works on chosen rows of a pool, and on ranges of a pool of positions. */
  bool takesPools;
  /** It takes a cache that is reordered by index. */
  bool takesSource;
  /** It takes keys and values of 8 bits. */
  bool takesBytes;
};
/** Its name in quotation marks. */
std::string quoted(const AttentionDeclaration& algorithm);
/** Every algorithm. */
std::span<const AttentionDeclaration> attentionDeclarations();
const AttentionDeclaration& declarationOf(AttentionAlgorithm algorithm);

/** A case of attention, as far as support depends on it. */
struct AttentionCase {
  DType type = DType::float32;  // of the query
  int64_t heads = 1, keyValueHeads = 1, headSize = 1, queries = 1, keys = 1;
  bool causal = false, append = false, scores = false;
  bool pooled = false;  // rows of a pool, or ranges of one
  bool source = false;  // a cache that is reordered by index
  bool bytes = false;   // keys and values of 8 bits
  /** The largest power of two that all rows of all tensors begin at multiples of, bytes. */
  int64_t alignment = 64;
};

/** Throws Error, which names the argument, where numbers do not fit together, whatever the algorithm and the device. */
void requireConsistent(const AttentionCase& given);
/** Why an algorithm does not compute a case on a device. */
Reasons notSupportedReasons(const AttentionDeclaration& algorithm, const AttentionCase& given,
                            const Capabilities& device);

/** Algorithms of the choice 'auto', the preferred one first: the first that computes a case is taken. */
std::span<const AttentionAlgorithm> preferredAlgorithms(int64_t queries);

/** The algorithm wanted, or the one that 'auto' takes (null). Throws Error NOT_SUPPORTED with the reasons, and with the
 * algorithms that compute the case, or every candidate's reasons where none does. */
AttentionAlgorithm chooseAlgorithm(const AttentionDeclaration* wanted, const AttentionCase& given,
                                   const Capabilities& device);

}  // namespace onehead
