// The descriptions of choosing tokens: greedy, sampled, or by beam search. ../operations.h explains the letters of
// shapes, and rows of a pool.
#pragma once

#include <optional>

#include "arguments.h"
#include "core/kinds.h"
#include "core/tensor.h"

namespace onehead {

/** y[b] = softmax(logits[b])[token]: logits [B, V] -> y [B]. */
struct TokenProbability {
  Tensor logits;
  int64_t token;
  Tensor y;
  void tensors(auto visit) const { visit(logits, y); }
  void written(auto visit) const { visit(y); }
};

/**
 * Chooses the next token of each sequence under Whisper's rules (token_rules.h), changing logits and state in place.
 * The state is described in arguments.h. Optional tensors:
 *  - temperature float32 [B] with seed int32 [B]: if temperature[b] > 0, the token is sampled from
 *    softmax(logits / temperature) with the Gumbel-max trick: the maximum over t of
 *    logits[t] / temperature + noise(seed[b], length[b] - begin[b], t). The noise (noise.h) is the same on every
 *    device. Log-probabilities are those without temperature, as in openai/whisper.
 *  - repetitionPenalty float32 [B]: before all other rules, the logit of every generated text token is divided by it if
 *    positive, multiplied if negative; 1 changes nothing.
 *  - noRepeat int32 [B]: n > 0 forbids each text token that would repeat an n-gram of generated tokens.
 *  - topTokens int32 [B, capacity, T] with topLogProbability float32 [B, capacity, T]: the T most probable tokens at
 *    the new token's index, most probable first; (-1, -infinity) if fewer are allowed. T <= 64.
 *  - topCount int32 [B], with topTokens: how many of the T are wanted; if 0, nothing is ranked or written.
 *  - rows int32 [B]: logits [B, V] belong to entries; every other tensor that is [B, ...] above is [R, ...].
 *  - beams int32 [B]: entries with a value other than 0 belong to NextBeams and are left unchanged.
 * `suppressed` is uint8 [V] for all rows, or [R, V].
 */
struct NextToken {
  Tensor logits, suppressed, tokens, logProbability, length, position, begin, minimum, maximum, timestamps, finished;
  int64_t endToken, timestampBegin, timestampEnd, noTimestampsToken, maxInitialTimestamp;
  std::optional<Tensor> temperature, seed, repetitionPenalty, noRepeat, topTokens, topLogProbability, topCount, rows,
      beams;
  void tensors(auto visit) const {
    visit(logits, suppressed, tokens, logProbability, length, position, begin, minimum, maximum, timestamps, finished,
          temperature, seed, repetitionPenalty, noRepeat, topTokens, topLogProbability, topCount, rows, beams);
  }
  void written(auto visit) const {
    visit(logits, tokens, logProbability, length, position, finished, topTokens, topLogProbability);
  }
};

/**
 * One step of beam search, as openai/whisper's BeamSearchDecoder.update. B = W * K sequences: window w has the K beams
 * w * K ... w * K + K - 1, all of the same length. `step` holds logits, rules and state as for NextToken, without
 * temperature and seed. Further state, changed in place:
 *  - cumulative float32 [B]: sum of a beam's log-probabilities; -infinity if the beam is not in use. At the start 0 for
 *    the first beam of each window, -infinity for the others.
 *  - source int32 [B, capacity]: attention's block table. The new beam k takes its parent's row of the table, with
 *    source[k, length - 1] = the parent's sequence, which holds the position just read. The caches are not moved.
 *  - wanted int32 [W]: number of finished candidates that ends window w; at most C.
 *  - doneCount int32 [W], doneLength int32 [W, C], doneScore float32 [W, C] and, each [W, C, capacity], doneTokens
 *    int32, doneLogProbability float32, doneSource int32: finished candidates, including the end token.
 *
 * The K + 1 most probable tokens of each beam are candidates, with score cumulative + log-probability. In order of
 * score (then beam, then token), candidates with the end token finish while doneCount < wanted, and the others become
 * the next beams until there are K. `finished` is set for all beams of a window at once: if doneCount reaches wanted,
 * if `maximum` or the capacity is reached, or if no beam continues. topTokens, if given, are written to the parent's
 * row.
 *
 * With `beams` int32 [B], windows with different numbers of beams, and other entries, may share a batch. An entry e
 * with beams[e] = K > 0 (at most 16) is the first of K beams, entries e ... e + K - 1, in rows rows[e] + k; beams is -1
 * for the others. Entries with 0, and windows that exceed the batch or the pool, are left unchanged. All state is then
 * [R, ...]; wanted and doneCount are those of the first beam's row. The window's candidates 0 ... K * C - 1 are
 * consecutive, from row rows[e] of doneLength [R, C], doneScore [R, C] and doneTokens ... [R, C, capacity] on. `source`
 * contains rows of the pool.
 */
struct NextBeams {
  NextToken step;
  Tensor cumulative, source, wanted, doneCount, doneLength, doneScore, doneTokens, doneLogProbability, doneSource;
  void tensors(auto visit) const {
    step.tensors(visit);
    visit(cumulative, source, wanted, doneCount, doneLength, doneScore, doneTokens, doneLogProbability, doneSource);
  }
  void written(auto visit) const {
    step.written(visit);
    visit(cumulative, source, doneCount, doneLength, doneScore, doneTokens, doneLogProbability, doneSource);
  }
};

#define ONEHEAD_DECODING_OPERATIONS(operation) ONEHEAD_DECODING_KERNELS(operation, operation)

}  // namespace onehead
