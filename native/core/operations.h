// The operations that a program is made of: plain descriptions, checked when they are recorded.
// Each lists its tensors through `tensors(visit)`. Shapes: B batch, T length, D width; H query heads, G key/value
// heads, S head size. See lib/device/operations.ts for the typed face.
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

/** activation(norm(x) weight^T + bias) + residual: x [..., K], weight [N, K], residual and y [..., N]. */
struct Linear {
  Tensor x, weight;
  std::optional<Tensor> bias, normWeight, normBias, residual;
  float epsilon;
  Activation activation;
  Tensor y;
  void tensors(auto visit) const { visit(x, weight, bias, normWeight, normBias, residual, y); }
};

/**
 * query [B, M, H * S], key and value [B, N, G * S] -> y [B, M, H * S]; see native/cpu/kernels.h for append, start and
 * causal. `multiQuery` alone has length before batch: query [M, B, H * S], key and value [N, B, S], y [M, B, H * S].
 */
struct Attention {
  Tensor query, key, value;
  std::optional<Tensor> newKey, newValue, start;
  int64_t heads, keyValueHeads, headSize;
  bool causal;
  float scale;
  AttentionAlgorithm algorithm;
  Tensor y;
  void tensors(auto visit) const { visit(query, key, value, newKey, newValue, start, y); }

  bool lengthFirst() const { return algorithm == AttentionAlgorithm::multiQuery; }
  int64_t batch() const { return query.shape[lengthFirst() ? 1 : 0]; }
  int64_t queries() const { return query.shape[lengthFirst() ? 0 : 1]; }
  int64_t keys() const { return key.shape[lengthFirst() ? 0 : 1]; }
  /** Elements from one sequence to the next, and from one position to the next. */
  int64_t batchStride(const Tensor& t) const { return lengthFirst() ? t.rowStride : t.shape[1] * t.rowStride; }
  int64_t lengthStride(const Tensor& t) const { return lengthFirst() ? t.shape[1] * t.rowStride : t.rowStride; }
};

/** tokens [B, capacity], start [B] -> y [B, count, D]: tokens start ... start + count - 1 and their positions. */
struct Embed {
  Tensor tokens, start, tokenEmbedding, positionEmbedding;
  int64_t count;
  float scale;
  Tensor y;
  void tensors(auto visit) const { visit(tokens, start, tokenEmbedding, positionEmbedding, y); }
};

/** y[i, b] = x[b, index[i, b]]: x [B, T, D], index [I, B] -> y [I, B, D]. */
struct GatherRows {
  Tensor x, index;
  Tensor y;
  void tensors(auto visit) const { visit(x, index, y); }
};

/** y[b] = softmax(logits[b])[token]: logits [B, V] -> y [B]. */
struct TokenProbability {
  Tensor logits;
  int64_t token;
  Tensor y;
  void tensors(auto visit) const { visit(logits, y); }
};

/** The greedy choice under Whisper's rules; see native/cpu/kernels.h. It changes logits and the state tensors in place.
 */
struct NextToken {
  Tensor logits, suppressed, tokens, logProbability, length, position, begin, minimum, maximum, timestamps, finished;
  int64_t endToken, timestampBegin, noTimestampsToken, maxInitialTimestamp;
  void tensors(auto visit) const {
    visit(logits, suppressed, tokens, logProbability, length, position, begin, minimum, maximum, timestamps, finished);
  }
};

using OperationDescription = std::variant<LogMel, Copy, TransposeCast, Convolution, LayerNorm, Linear, Attention, Embed,
                                          GatherRows, TokenProbability, NextToken>;

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
