// Whisper's rules for the next token, as in transformers' SuppressTokensLogitsProcessor, SuppressTokensAtBegin...,
// MinNewTokensLength... and WhisperTimeStampLogitsProcessor (generation/logits_process.py):
//
//  - Some tokens are always suppressed, some only as the first generated token, and the end token until the minimum
//    length.
//  - With timestamps, <|notimestamps|> is suppressed. Timestamps come in pairs (except at the end): after two, text
//    follows; after text and one timestamp, another timestamp or the end. They never decrease, and a closed segment is
//    not empty. The first token is a timestamp, of at most maxInitialTimestamp.
//  - If all timestamps together are more probable than the most probable other token, the token is a timestamp.
//
// Timestamps are the tokens from timestampBegin to before timestampEnd; tokens that fine-tuning adds after them are
// text.
//
// This header turns all rules but the last into ranges of forbidden tokens, for both backends.
#pragma once

#include <cstdint>

#include "core/everywhere.h"

namespace onehead {
namespace {

struct TokenRange {
  int64_t begin, end;
};

/** `a` is a NextTokenArguments, or has the same members. */
template <class Arguments>
ONEHEAD_EVERYWHERE inline bool isTimestamp(const Arguments& a, int64_t token) {
  return token >= a.timestampBegin && token < a.timestampEnd;
}

/** The ranges that are forbidden now. */
struct ForbiddenTokens {
  static constexpr int maxRanges = 8;
  TokenRange ranges[maxRanges];
  int count = 0;
  uint8_t suppressedBits = 1;
  bool timestamps = false;

  ONEHEAD_EVERYWHERE void add(int64_t begin, int64_t end, int64_t vocabulary) {
    if (begin < 0) begin = 0;
    if (end > vocabulary) end = vocabulary;
    if (begin < end) ranges[count++] = {begin, end};
  }
};

/** The forbidden tokens of the sequence in this row of the state. */
template <class Arguments>
ONEHEAD_EVERYWHERE inline ForbiddenTokens forbiddenTokens(const Arguments& a, int64_t row) {
  ForbiddenTokens forbidden;
  const int64_t vocabulary = a.vocabulary, timestampBegin = a.timestampBegin, timestampEnd = a.timestampEnd;
  const int64_t generated = int64_t(a.length[row]) - a.begin[row];
  const int32_t* tokens = a.tokens + row * a.capacity + a.begin[row];
  if (generated <= 0) forbidden.suppressedBits |= 2;
  if (generated < a.minimum[row]) forbidden.add(a.endToken, int64_t(a.endToken) + 1, vocabulary);
  if (!a.timestamps[row]) return forbidden;

  forbidden.timestamps = true;
  forbidden.add(a.noTimestampsToken, int64_t(a.noTimestampsToken) + 1, vocabulary);
  const bool lastWasTimestamp = generated >= 1 && isTimestamp(a, tokens[generated - 1]);
  const bool penultimateWasTimestamp = generated < 2 || isTimestamp(a, tokens[generated - 2]);
  if (lastWasTimestamp) {
    if (penultimateWasTimestamp) {
      forbidden.add(timestampBegin, timestampEnd, vocabulary);
    } else {
      forbidden.add(0, a.endToken, vocabulary);
      forbidden.add(timestampEnd, vocabulary, vocabulary);
    }
  }
  for (int64_t i = generated - 1; i >= 0; --i) {
    if (!isTimestamp(a, tokens[i])) continue;
    const bool openSegment = lastWasTimestamp && !penultimateWasTimestamp;
    forbidden.add(timestampBegin, openSegment ? tokens[i] : int64_t(tokens[i]) + 1, vocabulary);
    break;
  }
  if (generated <= 0) {
    forbidden.add(0, timestampBegin, vocabulary);
    forbidden.add(timestampEnd, vocabulary, vocabulary);
    if (a.maxInitialTimestamp >= 0) forbidden.add(timestampBegin + a.maxInitialTimestamp + 1, timestampEnd, vocabulary);
  }
  return forbidden;
}

}  // namespace
}  // namespace onehead
