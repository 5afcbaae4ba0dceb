// The arguments of the kernels that choose tokens, on both backends. ../operations.h explains rows of a pool.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/kinds.h"

namespace onehead {

/** The most beams of a window, and the most top tokens that are returned. */
constexpr int64_t maxBeams = 16, maxTop = 64;

/** probability[b] = softmax(logits[b])[token]. */
struct TokenProbabilityArguments {
  int64_t batch, vocabulary;
  const float* logits;
  int32_t token;
  float* probability;
};

/**
 * Chooses the next token under Whisper's rules (token_rules.h), and appends it and its log-probability to the sequence.
 */
struct NextTokenArguments {
  int64_t batch, vocabulary, capacity;
  float* logits;  // [batch, vocabulary]; overwritten: by filtered logits on the CPU, by penalized ones on a GPU
  const uint8_t* suppressed;  // [vocabulary] or [pool, vocabulary]: bit 0 always, bit 1 only as first generated token
  int32_t endToken;
  int32_t timestampBegin, timestampEnd;  // both equal to the vocabulary if the model has no timestamps
  int32_t noTimestampsToken;             // or -1
  int32_t maxInitialTimestamp;           // index, or -1
  int32_t* tokens;                       // [batch, capacity]: prompt, then generated tokens
  float* logProbability;                 // [batch, capacity]: of each generated token, at the token's index
  int32_t* length;                       // [batch]: number of tokens so far
  int32_t* position;                     // [batch]: position that the next step reads
  const int32_t* begin;                  // [batch]: index of the first generated token
  const int32_t* minimum;                // [batch]: new tokens before the end token is allowed
  const int32_t* maximum;                // [batch]: new tokens at most, including the end token
  const int32_t* timestamps;             // [batch]: 1 applies the timestamp rules
  int32_t* finished;                     // [batch]; a finished sequence is left unchanged
  void* scratch;
  int32_t* counters;  // [batch]; GPU only

  // Optional; see NextToken in operation.h.
  const float* temperature = nullptr;        // [batch]
  const int32_t* seed = nullptr;             // [batch]
  const float* repetitionPenalty = nullptr;  // [batch]
  const int32_t* noRepeat = nullptr;         // [batch]
  int32_t* topTokens = nullptr;              // [batch, capacity, top]
  float* topLogProbability = nullptr;        // [batch, capacity, top]
  int64_t top = 0;
  const int32_t* topCount = nullptr;  // [batch]

  /** [batch]. If given, everything above that is [batch ...] is [pool ...], except logits. */
  const int32_t* rows = nullptr;
  int64_t pool = 0;
  const int32_t* beams = nullptr;  // [batch]
  int64_t suppressedStride = 0;    // elements between rows; 0: one for all rows
};

/** One step of beam search; see NextBeams in operation.h. */
struct NextBeamsArguments {
  NextTokenArguments step;
  int64_t beams, doneCapacity;  // per window if step.beams is null; capacity for finished candidates per row
  float* cumulative;
  int32_t* source;
  const int32_t* wanted;
  int32_t *doneCount, *doneLength;
  float* doneScore;
  int32_t* doneTokens;
  float* doneLogProbability;
  int32_t* doneSource;
  void* scratch;      // step.scratch is not used
  int32_t* counters;  // [batch]; GPU only
};

// clang-format off
#define ONEHEAD_DECODING_KERNELS(kernel, withScratch) \
  kernel(TokenProbability, tokenProbability) \
  withScratch(NextToken, nextToken) \
  withScratch(NextBeams, nextBeams)
// clang-format on

}  // namespace onehead
