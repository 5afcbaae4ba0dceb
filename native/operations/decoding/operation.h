// The choice of tokens: greedy, drawn, or by beam search. Shapes, and rows of a pool: ../operations.h.
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
 * The next token of each sequence under Whisper's rules; see native/cpu/kernels.h. It changes logits and the state
 * tensors in place. The optional tensors, each absent by default:
 *  - temperature float32 [B], seed int32 [B], both or neither: where temperature[b] > 0 the token is drawn from
 *    softmax(logits / temperature) instead of being the likeliest, as argmax over t of
 *    logits[t] / temperature + noise(seed[b], length[b] - begin[b], t); `noise` is in
 * native/operations/decoding/noise.h and is the same on every device. Log-probabilities are those of the untempered
 * distribution, as in openai/whisper.
 *  - repetitionPenalty float32 [B]: before all other rules, the logit of every text token (outside the timestamps) that
 *    the sequence has generated is divided by it where positive and multiplied where negative; 1 changes nothing.
 *  - noRepeat int32 [B]: n > 0 forbids each text token that would complete an n-gram of generated tokens a second time.
 *  - topTokens int32 [B, capacity, T] and topLogProbability float32 [B, capacity, T], both or neither: the T likeliest
 *    tokens at the new token's place, likeliest first; (-1, -infinity) where fewer are allowed. T <= 64.
 *  - topCount int32 [B], with them: how many of the T are wanted; none are ranked and nothing is written where it is 0.
 *  - rows int32 [B]: logits [B, V] are the entries', and every other tensor that is [B, ...] here is [R, ...].
 *  - beams int32 [B]: entries where it is not 0 are NextBeams's, and left as they are.
 * `suppressed` is uint8 [V] for all, or [R, V], each row its own.
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
 * One step of beam search, as openai/whisper's BeamSearchDecoder.update: B = W * K sequences, the K beams of window w
 * being w * K ... w * K + K - 1, all of one length. `step` holds logits, rules and state as for NextToken (temperature
 * and seed absent). Further state, changed in place:
 *  - cumulative float32 [B]: a beam's sum of log-probabilities; -infinity where the beam is not in use. At the start 0
 *    for each window's first beam and -infinity for the others.
 *  - source int32 [B, capacity]: Attention's. The new beam k takes its parent's row, with source[k, length - 1] = the
 *    parent's sequence, for the position just read; nothing in the caches moves.
 *  - wanted int32 [W]: finished candidates after which window w ends; at most C.
 *  - doneCount int32 [W], doneLength int32 [W, C], doneScore float32 [W, C] and, each [W, C, capacity], doneTokens
 *    int32, doneLogProbability float32, doneSource int32: finished candidates, the end token included.
 *
 * Of each beam the K + 1 likeliest tokens are candidates, scored by cumulative + log-probability; in order of score
 * (then of beam, then of token), those with the end token finish, as long as doneCount < wanted, and others become
 * the next beams until there are K. `finished` is set for all beams of a window at once: when doneCount reaches wanted,
 * when `maximum` or the capacity is reached, or when no beam goes on. topTokens, where given, are written to the
 * parent's row.
 *
 * With `beams` int32 [B], windows of different widths stand side by side, and beside other entries: an entry e with
 * beams[e] = K > 0 (16 at most) leads the K beams of a window, entries e ... e + K - 1, whose rows are rows[e] + k; the
 * others' beams are -1. Entries with 0, and windows that do not fit into the batch or the pool, are left as they are.
 * All state is [R, ...] then; wanted and doneCount are the leader's row's, and the window's candidates 0 ... K * C - 1
 * lie one after another from row rows[e] of doneLength [R, C], doneScore [R, C] and doneTokens ... [R, C, capacity] on.
 * `source` names rows of the pool.
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
