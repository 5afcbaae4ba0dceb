/** Argument types of operations: weights, rows of a pool, decoding state, options. */
import type { FloatingType } from '../element-types.js';
import type { Tensor } from './tensor.js';

export type Activation = 'none' | 'gelu';
/** The attention algorithms by name. */
export type AttentionVariantName = 'multi-head' | 'multi-query' | 'multi-query-1' | 'memory-efficient' | 'split-kv';
/**
 * An attention algorithm. `attentionVariants` describes each; `chooseAttentionAlgorithm` returns the one that 'auto'
 * prefers.
 */
export type AttentionAlgorithm = 'auto' | AttentionVariantName;

/** Options of every operation that returns a tensor. */
export interface OutputOptions {
  /**
   * Destination of the result. Default: a temporary of the program. It must not share memory with other arguments,
   * except that it may be the residual of `linear`, the query of `attention`, or x of `layerNorm` and `copy`.
   */
  output?: Tensor;
  /** Type of the result. */
  dtype?: FloatingType;
}

export interface Norm {
  /** float32 [width]. */
  weight: Tensor;
  /** float32 [width]. */
  bias: Tensor;
  epsilon?: number;
}

/** An 8-bit weight: each element is `data` times the scale of its row. */
export interface QuantizedWeight {
  /** int8 [outputs, inputs]. */
  data: Tensor;
  /** float32 [outputs]. */
  scales: Tensor;
  /** Number of elements that share a scale: `inputs`. */
  group: number;
}

/** A weight [outputs, inputs], of a floating type or with 8 bits. */
export type Weight = Tensor | QuantizedWeight;

export interface LinearOptions extends OutputOptions {
  /** float32 [outputs]. */
  bias?: Tensor;
  /** Layer norm of x before the product. Requires float32 x. */
  norm?: Norm;
  activation?: Activation;
  /** float32 [..., outputs], added after the activation. The result is float32. */
  residual?: Tensor;
  /**
   * For 8-bit weights: quantizes x to 8 bits with one scale for each row; a GPU does so for more than 64 rows only. The
   * result is float32 unless `dtype` is given.
   */
  quantized?: boolean;
}

export interface AttentionOptions extends OutputOptions {
  heads: number;
  /** Must divide `heads`: 1 for multi-query attention, `heads` (the default) for multi-head attention. */
  keyValueHeads?: number;
  /** Query i of sequence b attends only to keys 0 ... start[b] + i. */
  causal?: boolean;
  /** int32 [batch]: the position of each sequence's first query. */
  start?: Tensor;
  /** New keys and values. They are written to the caches `key` and `value` at positions start[b] ... first. */
  append?: { key: Tensor; value: Tensor };
  /**
   * Factor of the scores, of any sign; 0 attends to all visible keys equally. Default: 1 / sqrt(head size). Scores must
   * be within 1e30.
   */
  scale?: number;
  algorithm?: AttentionAlgorithm;
  /**
   * int32 [batch, N], requires `start`, `causal` and 'split-kv': the block table of beams, with blocks of one position.
   * Sequence b reads position n < start[b] from cache row source[b, n], and later positions from its own row. With
   * `append`, no other sequence of the run may write the positions that are read, as where all have the same start.
   */
  source?: Tensor;
  /** Also writes scores before the softmax. Not for the multi-query algorithms. */
  scores?: AttentionScores;
  /**
   * int32 [batch], for 'split-kv' and 'memory-efficient': the pool row of each entry; see `RowsOptions`. With it,
   * `start` is [pool], `source` is [pool, N] and contains pool rows, and key and value are caches
   * [pool, N, keyValueHeads * size].
   */
  rows?: Tensor;
  /**
   * For 'split-kv' and 'memory-efficient', without append, causal, start and source: key and value are one pool of
   * positions [1, N, keyValueHeads * size], and each entry attends to `count` positions from `begin` on. Both are int32
   * [batch], or [pool] with `rows`. The output of an entry with no positions is zero. In 'split-kv', adjacent entries
   * with the same range share one pass over it. A larger count than `longest` (N by default) counts as `longest`, for
   * which scratch memory is allocated.
   */
  keys?: { begin: Tensor; count: Tensor; longest?: number };
  /**
   * Scales of int8 keys and values: float32 [pool, N, keyValueHeads], or [1, N, keyValueHeads] with `keys`. Requires
   * 'split-kv', which 'auto' then chooses. Query, appended rows and result have floating types.
   */
  cacheScales?: { key: Tensor; value: Tensor };
}

/**
 * The scores that `addWeights` reads and the sums that it updates. All tensors are int32 [entries]; with `rows`, all
 * others are [pool].
 */
export interface WeightIndices {
  /** The pool row of each entry; an entry whose row is negative is idle. */
  rows?: Tensor;
  /** Rows of the scores. */
  from: Tensor;
  /** Rows of the sum. Nothing is written if `to` or `position` is negative. */
  to: Tensor;
  /** Positions in the rows of the sum. */
  position: Tensor;
  /** Number of keys in the softmax. */
  keys: Tensor;
}

/**
 * Query i of sequence b writes the score scale * q . k of head h to to[r, position[r], heads[h]], where r = b * M + i.
 * Scores with an index out of range are not written.
 */
export interface AttentionScores {
  /** float32 [batch * M, positions, chosen heads, N]. */
  to: Tensor;
  /** int32 [heads]: the index of each head among the chosen ones, -1 for the others. */
  heads: Tensor;
  /** int32 [batch * M], or [pool] with `rows`, which requires M = 1. */
  position: Tensor;
  /**
   * int32 [batch], or [pool] with `rows`; requires M = 1. The row of `to` for each entry, instead of the entry's index;
   * entries whose row is out of range write nothing. `to` may then have any number of rows. With `keys`, its last
   * dimension may have any size and counts from the first key of the entry's range.
   */
  row?: Tensor;
}

/**
 * Rows of a pool. Decoding state (tokens, positions, caches) may have more rows than a program's batch; entry b of the
 * batch then uses row rows[b]. An entry whose row is out of range is idle: its output is zero, and no state is read or
 * written. No two entries may use the same row. Default: entry b uses row b.
 */
export interface RowsOptions {
  /** int32 [batch]. */
  rows?: Tensor;
}

export interface ConvolutionOptions extends OutputOptions {
  /** float32 [outputs]. */
  bias?: Tensor;
  stride?: number;
  padding?: number;
  activation?: Activation;
  /** float32 [length, outputs], added to each sequence after the activation. */
  residual?: Tensor;
}

/**
 * Decoding state, which each step updates. Tensors are int32 [batch] unless stated otherwise. With rows of a pool, the
 * dimension `batch` is `pool`.
 */
export interface DecodingState {
  /** int32 [batch, capacity]: the prompt, then the generated tokens. */
  tokens: Tensor;
  /** float32 [batch, capacity]: the log-probability of the generated token at each position. */
  logProbability: Tensor;
  /** Number of tokens so far. */
  length: Tensor;
  /** The position of the token that the next step reads: length - 1. */
  position: Tensor;
  /** The position of the first generated token. */
  begin: Tensor;
  /** Minimum number of new tokens before the end token. */
  minimum: Tensor;
  /** Maximum number of new tokens, including the end token. */
  maximum: Tensor;
  /** 1 to apply the timestamp rules. */
  timestamps: Tensor;
  /** 1 if the sequence has ended; steps then leave it unchanged. */
  finished: Tensor;
  /**
   * float32 [batch]: logits of text tokens that were generated before are divided by it, or multiplied if negative; 1
   * for no penalty.
   */
  repetitionPenalty?: Tensor;
  /** n: tokens that would repeat an n-gram of the generated text are excluded; 0 for none. */
  noRepeat?: Tensor;
  /**
   * int32 [batch, capacity, count], with topLogProbability float32 of the same shape: the likeliest tokens at each
   * position, likeliest first.
   */
  topTokens?: Tensor;
  topLogProbability?: Tensor;
  /** The number of likeliest tokens to write; 0 writes nothing. Default: `count`. */
  topCount?: Tensor;
}

/** Sampling of tokens. The same seed gives the same tokens on every device. */
export interface Sampling {
  /** float32 [batch]; 0 takes the likeliest token. */
  temperature: Tensor;
  /** int32 [batch]. */
  seed: Tensor;
}

/**
 * Additional state of beam search. The beams of a window are consecutive sequences. See NextBeams in
 * native/operations/decoding/operation.h.
 */
export interface BeamState {
  /**
   * float32 [batch]: sums of log-probabilities. Initially 0 for the first beam of each window, -infinity for the
   * others.
   */
  cumulative: Tensor;
  /** int32 [batch, capacity]: the block table, `source` of attention. */
  source: Tensor;
  /** int32 [windows]: the number of finished candidates that ends the search. */
  wanted: Tensor;
  /** int32 [windows]: the number of finished candidates so far. The tensors below hold these candidates. */
  doneCount: Tensor;
  /** int32 [windows, candidates]. */
  doneLength: Tensor;
  /** float32 [windows, candidates]. */
  doneScore: Tensor;
  /** int32 [windows, candidates, capacity]. */
  doneTokens: Tensor;
  /** float32 [windows, candidates, capacity]. */
  doneLogProbability: Tensor;
  /** int32 [windows, candidates, capacity]. */
  doneSource: Tensor;
}

/** The rules by which tokens are chosen. */
export interface NextTokenRules {
  /**
   * uint8 [vocabulary], or [batch, vocabulary] with one mask for each sequence. Bit 0 excludes a token everywhere, bit
   * 1 as the first generated token.
   */
  suppressed: Tensor;
  endToken: number;
  /** The first timestamp token. Default: the size of the vocabulary, for no timestamp tokens. */
  timestampBegin?: number;
  /** The first token after the timestamp tokens, which is text again. Default: the size of the vocabulary. */
  timestampEnd?: number;
  noTimestampsToken?: number;
  /** The highest allowed first timestamp, as an index from 0; -1 for any. */
  maxInitialTimestamp?: number;
}

/** The entries of a batch for which tokens are chosen. */
export interface ChoiceOptions extends RowsOptions {
  /**
   * int32 [batch]: 0 for a plain sequence; K for the first of the K beams of a window, which are consecutive entries on
   * consecutive rows; -1 for the other beams. `nextToken` ignores beams, `nextBeams` ignores plain sequences.
   */
  beams?: Tensor;
}
