// What the kernels that choose tokens take, on either backend. Rows of a pool: ../operations.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/kinds.h"

namespace onehead {

/** Most beams of a window, and most of the likeliest tokens that are given out. */
constexpr int64_t mostBeams = 16, mostTop = 64;

/** probability[b] = softmax(logits[b])[token]. */
struct TokenProbabilityArguments {
  int64_t batch, vocabulary;
  const float* logits;
  int32_t token;
  float* probability;
};

/**
 * Choice of the next token under Whisper's rules; writes the token and its log-probability behind the sequence.
 * See native/operations/decoding/token_rules.h for the rules and their sources.
 */
struct NextTokenArguments {
  int64_t batch, vocabulary, capacity;
  float* logits;  // [batch, vocabulary]; a CPU overwrites them by the filtered ones, a GPU penalised ones
  const uint8_t*
      suppressed;  // [vocabulary] or [pool, vocabulary]: bit 0 always, bit 1 as the first generated token only
  int32_t endToken;
  int32_t timestampBegin, timestampEnd;  // both the vocabulary when the model has none
  int32_t noTimestampsToken;             // or -1
  int32_t maxInitialTimestamp;           // index, or -1
  int32_t* tokens;                       // [batch, capacity]: prompt, then generated
  float* logProbability;                 // [batch, capacity]: of each generated token, at its place
  int32_t* length;                       // [batch]: tokens so far
  int32_t* position;                     // [batch]: to read next
  const int32_t* begin;                  // [batch]: where the generated tokens begin
  const int32_t* minimum;                // [batch]: new tokens before the end token may come
  const int32_t* maximum;                // [batch]: new tokens, the end token counted
  const int32_t* timestamps;             // [batch]: 1 applies the timestamp rules
  int32_t* finished;                     // [batch]; a finished sequence is left as it is
  void* scratch;
  int32_t* counters;  // [batch], of a GPU

  // Optional; see NextToken in native/operations/decoding/operation.h.
  const float* temperature = nullptr;        // [batch]
  const int32_t* seed = nullptr;             // [batch]
  const float* repetitionPenalty = nullptr;  // [batch]
  const int32_t* noRepeat = nullptr;         // [batch]
  int32_t* topTokens = nullptr;              // [batch, capacity, top]
  float* topLogProbability = nullptr;        // [batch, capacity, top]
  int64_t top = 0;
  const int32_t* topCount = nullptr;  // [batch]

  const int32_t* rows = nullptr;  // [batch]; where there are rows, what is [batch ...] above but logits is [pool ...]
  int64_t pool = 0;
  const int32_t* beams = nullptr;  // [batch]
  int64_t suppressedStride = 0;    // from one row's to the next; 0: one for all
};

/** One step of beam search; see NextBeams in native/operations/decoding/operation.h. */
struct NextBeamsArguments {
  NextTokenArguments step;
  int64_t beams, most;  // of each window, where step.beams is null; finished candidates that a row has room for
  float* cumulative;
  int32_t* source;
  const int32_t* wanted;
  int32_t *doneCount, *doneLength;
  float* doneScore;
  int32_t* doneTokens;
  float* doneLogProbability;
  int32_t* doneSource;
  void* scratch;      // step has none
  int32_t* counters;  // [batch], of a GPU
};

// clang-format off
#define ONEHEAD_DECODING_KERNELS(kernel, withScratch) \
  kernel(TokenProbability, tokenProbability) \
  withScratch(NextToken, nextToken) \
  withScratch(NextBeams, nextBeams)
// clang-format on

}  // namespace onehead
