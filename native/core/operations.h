// The operations that a program is made of: plain descriptions, checked when they are recorded.
// Each lists its tensors through `tensors(visit)`. Shapes: B batch, T length, D width; H query heads, G key/value
// heads, S head size. See lib/device/operations.ts for the typed face.
//
// Rows of a pool. A pool keeps R rows of decoding state (tokens, positions, caches), and a program works on B entries.
// Operations that read or write such state take `rows` int32 [B], which says on which row each entry works: their state
// has R rows then, and what is said below of "sequence b" is said of row rows[b]. An entry whose row is outside of
// 0 ... R - 1 is idle: its output is zero unless said otherwise, and nothing of the pool is read or written. Two
// entries never name the same row. Absent: entry b works on row b, and R = B.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "kinds.h"
#include "tensor.h"

namespace onehead {

/** samples [B, (frames - 1) * hop + fftSize] -> features [B, mels, frames]; peak [B] is read and updated. */
struct LogMel {
  Tensor samples, window, filters, peak, y;
  int64_t hop;
  void tensors(auto visit) const { visit(samples, window, filters, peak, y); }
};

/** x of any shape -> y, the same elements. */
struct Copy {
  Tensor x, y;
  void tensors(auto visit) const { visit(x, y); }
};

/** x [B, R, C] -> y [B, C, R] of another dtype. */
struct TransposeCast {
  Tensor x, y;
  void tensors(auto visit) const { visit(x, y); }
};

/** x [B, T, C], weight [O, C, K] -> y [B, (T + 2 * padding - K) / stride + 1, O], plus residual [T', O] after the
 * activation. */
struct Convolution {
  Tensor x, weight;
  std::optional<Tensor> bias, residual;
  int64_t stride, padding;
  Activation activation;
  Tensor y;
  void tensors(auto visit) const { visit(x, weight, bias, residual, y); }
};

struct LayerNorm {
  Tensor x, weight, bias;
  float epsilon;
  Tensor y;
  void tensors(auto visit) const { visit(x, weight, bias, y); }
};

/**
 * activation(norm(x) weight^T + bias) + residual: x [..., K], weight [N, K], residual and y [..., N].
 * An int8 weight has weightScales float32 [N], each of which its row is multiplied by. With `quantized` each row of x
 * becomes int8 too, under a scale of its own (the largest magnitude / 127); otherwise x is multiplied as it is. A GPU
 * leaves up to 64 rows as they are in either case: the weight's bytes are all that counts there.
 */
struct Linear {
  Tensor x, weight;
  std::optional<Tensor> bias, normWeight, normBias, residual;
  float epsilon;
  Activation activation;
  Tensor y;
  std::optional<Tensor> weightScales;
  bool quantized = false;
  void tensors(auto visit) const { visit(x, weight, bias, normWeight, normBias, residual, y, weightScales); }
};

/**
 * query [B, M, H * S], key and value [B, N, G * S] -> y [B, M, H * S]; see native/cpu/kernels.h for append, start and
 * causal. `multiQuery` alone has length before batch: query [M, B, H * S], key and value [N, B, S], y [M, B, H * S].
 *
 * `source` int32 [B, N], with `start` and splitKeyValue only: a cache that is reordered by index. Sequence b reads the
 * key and value of position n < start[b] from cache row source[b, n], those from start[b] on from its own row b, which
 * it appends to. Rows outside 0 ... B - 1 read as b; a row that is named must not append that same position in this
 * call, which holds where sequences that share rows have one start. Absent: every position from row b.
 *
 * `scores` float32 [B * M, P, A, N], with `scoreHeads` int32 [H] and `scorePosition` int32 [B * M], not for the
 * multi-query algorithms: query i of sequence b also writes scale * q . k (before the softmax; keys that it does not
 * see are left as they were) of each head h with 0 <= a = scoreHeads[h] < A to
 * scores[r, scorePosition[r], a, :], r = b * M + i. Where scorePosition[r] is outside 0 ... P - 1 nothing is written.
 *
 * For memoryEfficient and splitKeyValue only, and M = 1 where there are scores:
 *  - `rows` int32 [B]: start and scorePosition are [R], source is [R, N] and names rows of the pool, and key and value
 *    are [R, N, G * S], of which entry b has row rows[b].
 *  - `keyBegin` and `keyCount` int32 [R], both or neither and without append, causal, start and source: key and value
 *    are one pool of positions [1, P, G * S], of which entry b sees keyBegin ... keyBegin + keyCount - 1, as far as
 *    they are in the pool; of none where keyBegin is negative, and its output is zero then. Neighbouring entries of one
 *    range (the beams of a window) share one pass over its keys and values in splitKeyValue.
 *  - `scoreRow` int32 [R]: the row of `scores` [any, P, A, any] that an entry writes to, none where it is out of range.
 *    Absent: the entry's own index, of [B, P, A, any].
 *    The last dimension is the entry's own keys, 0 ... keyCount - 1; those that it has no room for are not written.
 *
 * For splitKeyValue, key and value may be int8 with keyScales and valueScales float32 [R or 1, N, G], which each head
 * of a position is multiplied by. What is appended is quantized (the largest magnitude / 127), so that it changes them.
 */
struct Attention {
  Tensor query, key, value;
  std::optional<Tensor> newKey, newValue, start;
  int64_t heads, keyValueHeads, headSize;
  bool causal;
  float scale;
  AttentionAlgorithm algorithm;
  Tensor y;
  std::optional<Tensor> source, scores, scoreHeads, scorePosition, rows, keyBegin, keyCount, scoreRow, keyScales,
      valueScales;
  void tensors(auto visit) const {
    visit(query, key, value, newKey, newValue, start, y, source, scores, scoreHeads, scorePosition, rows, keyBegin,
          keyCount, scoreRow, keyScales, valueScales);
  }

  bool lengthFirst() const { return algorithm == AttentionAlgorithm::multiQuery; }
  int64_t batch() const { return query.shape[lengthFirst() ? 1 : 0]; }
  int64_t queries() const { return query.shape[lengthFirst() ? 0 : 1]; }
  int64_t keys() const { return key.shape[lengthFirst() ? 0 : 1]; }
  /** Rows of the state: R. */
  int64_t pool() const { return !rows ? batch() : keyBegin ? keyBegin->shape[0] : key.shape[0]; }
  /** Elements from one sequence to the next, and from one position to the next. */
  int64_t batchStride(const Tensor& t) const { return lengthFirst() ? t.rowStride : t.shape[1] * t.rowStride; }
  int64_t lengthStride(const Tensor& t) const { return lengthFirst() ? t.shape[1] * t.rowStride : t.rowStride; }
};

/** tokens [R, capacity], start [R] -> y [B, count, D]: tokens start ... start + count - 1 and their positions. An int8
 * tokenEmbedding [V, D] has tokenScales float32 [V], as Linear's weight. */
struct Embed {
  Tensor tokens, start, tokenEmbedding, positionEmbedding;
  int64_t count;
  float scale;
  Tensor y;
  std::optional<Tensor> rows, tokenScales;
  void tensors(auto visit) const { visit(tokens, start, tokenEmbedding, positionEmbedding, y, rows, tokenScales); }
};

/** y[i, b] = x[b, index[i, b]]: x [B, T, D], index [I, B] -> y [I, B, D]. */
struct GatherRows {
  Tensor x, index;
  Tensor y;
  void tensors(auto visit) const { visit(x, index, y); }
};

/**
 * y[begin[b] + t] = x[b, t], as far as that is in y: x [B, T, D], begin int32 [B], y [P, D] or [1, P, D] of x's type,
 * of another floating type, or int8 with scales float32 [P, G] or [1, P, G]: each of the G parts of a row is quantized
 * by itself. Nothing where begin[b] is negative. Ranges do not meet.
 */
struct ScatterRows {
  Tensor x, begin, y;
  std::optional<Tensor> scales;
  void tensors(auto visit) const { visit(x, begin, y, scales); }
};

/** y[b] = softmax(logits[b])[token]: logits [B, V] -> y [B]. */
struct TokenProbability {
  Tensor logits;
  int64_t token;
  Tensor y;
  void tensors(auto visit) const { visit(logits, y); }
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
};

/**
 * When each position of a text was said, from attention's scores of the alignment heads: openai/whisper's
 * find_alignment. scores float32 [R, P, A, N] are Attention's; source int32 [S, P] says in which row of them position p
 * of sequence s lies; begin, end and frames, int32 [S]: positions begin ... end - 1 and keys 0 ... frames - 1 count.
 * For each head: the softmax over the counted keys; each key's column less its mean over the counted positions, over
 * its standard deviation (0 where that is 0); a median filter of odd width `medianWidth` along the keys, mirrored at
 * both ends without the edge, and left out where frames <= medianWidth / 2. The mean over the heads, negated, is the
 * cost matrix of a dynamic time warping in float32 from the first position and key to the last, each step going one
 * position, one key or both on; among equal ways a key, then a position.
 * -> y int32 [S, P]: at each counted position the first key on its way; elsewhere left as it was.
 */
struct AlignPositions {
  Tensor scores, source, begin, end, frames;
  int64_t medianWidth;
  Tensor y;
  void tensors(auto visit) const { visit(scores, source, begin, end, frames, y); }
};

/**
 * Adds up attention's weights over layers and heads. scores float32 [S, 1, H, N] are one layer's, as Attention gives
 * them out. Of each entry, int32 [B]: from is its row of scores, to its row of y, position where in that it writes, and
 * keys how many of its keys count. With rows int32 [B] these are [pool], and rows says which row of the pool an entry
 * is. Nothing where anything lies outside. y float32 [R, P, N]: y[r, p] = (y[r, p] or, where `fresh`, 0) + factor * the
 * sum over the heads of the softmax over the counted keys; 0 is added to the others.
 */
struct AddWeights {
  Tensor scores, from, to, position, keys;
  std::optional<Tensor> rows;
  float factor;
  bool fresh;
  Tensor y;
  void tensors(auto visit) const { visit(scores, from, to, position, keys, rows, y); }
};

using OperationDescription =
    std::variant<LogMel, Copy, TransposeCast, Convolution, LayerNorm, Linear, Attention, Embed, GatherRows, ScatterRows,
                 TokenProbability, NextToken, NextBeams, AlignPositions, AddWeights>;

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

/** Every tensor that the operation reads or writes, outputs included. */
std::vector<const Tensor*> tensorsOf(const Operation& operation);

}  // namespace onehead
