/** What operations take: weights, rows of a pool, decoding state, and options. */
import type { FloatingType } from '../element-types.js';
import type { Tensor } from './tensor.js';

export type Activation = 'none' | 'gelu';
/** The attention algorithms by name. */
export type AttentionVariantName = 'multi-head' | 'multi-query' | 'multi-query-1' | 'memory-efficient' | 'split-kv';
/**
 * An attention algorithm. `attentionVariants` describes each; `chooseAttentionAlgorithm` tells which one 'auto' takes.
 */
export type AttentionAlgorithm = 'auto' | AttentionVariantName;

/** Options of every operation that makes a tensor. */
export interface OutputOptions {
  /** Destination of the result; a temporary of the program if absent. */
  output?: Tensor;
  dtype?: FloatingType;
}

export interface Norm {
  /** float32 [width]. */
  weight: Tensor;
  /** float32 [width]. */
  bias: Tensor;
  epsilon?: number;
}

/** A product's weight of 8 bits: int8 rows [outputs, inputs] and what they are multiplied by. */
export interface QuantizedWeight {
  data: Tensor;
  /** float32 [outputs]. */
  scales: Tensor;
  /** Elements of a row under one scale: all of them. */
  group: number;
}

/** A product's weight [outputs, inputs]: of a floating type, or of 8 bits. */
export type Weight = Tensor | QuantizedWeight;

export interface LinearOptions extends OutputOptions {
  /** float32 [outputs]. */
  bias?: Tensor;
  /** Layer norm of x before the product; x is float32 then. */
  norm?: Norm;
  activation?: Activation;
  /** float32 [..., outputs], added last; the result is float32 then. */
  residual?: Tensor;
  /**
   * With a weight of 8 bits: each row of x becomes 8 bits too, under a scale of its own; a GPU leaves up to 64 rows as
   * they are. The result is float32 unless `dtype` is given.
   */
  quantized?: boolean;
}

export interface AttentionOptions extends OutputOptions {
  heads: number;
  /** Must divide heads: 1 is multi-query, `heads` (the default) multi-head. */
  keyValueHeads?: number;
  /** Query i of sequence b sees keys 0 ... start[b] + i only. */
  causal?: boolean;
  /** int32 [batch]. */
  start?: Tensor;
  /** Rows that are first copied to rows start[b] ... of key and value, which are a cache then. */
  append?: { key: Tensor; value: Tensor };
  /** Scale of the products; 1 / sqrt(head size) if absent. */
  scale?: number;
  algorithm?: AttentionAlgorithm;
  /**
   * int32 [batch, N], with `start`, `causal` and 'split-kv': a cache reordered by index. Sequence b reads position n <
   * start[b] from cache row source[b, n], and later ones from its own row.
   */
  source?: Tensor;
  /** Gives out scores before the softmax, for all algorithms but the multi-query ones. */
  scores?: AttentionScores;
  /**
   * int32 [batch], for 'split-kv' and 'memory-efficient': the row of the pool that each entry works on; see `rows` of
   * `RowsOptions`. `start` is [pool] then, `source` [pool, N] with rows of the pool, and key and value are caches
   * [pool, N, keyValueHeads * size].
   */
  rows?: Tensor;
  /**
   * For the same algorithms, without append, causal, start and source: key and value are one pool of positions [1, N,
   * keyValueHeads * size], of which an entry sees `count` from `begin` on. int32 [batch], or [pool] with `rows`; an
   * entry that sees none gives zeros. Neighbours that see the same positions share one pass over them in 'split-kv'.
   */
  keys?: { begin: Tensor; count: Tensor };
  /**
   * float32 [pool, N, keyValueHeads], or [1, N, keyValueHeads] with `keys`: of keys and values that are int8, for
   * 'split-kv', which 'auto' then is. Query, appended rows and the result are floating.
   */
  cacheScales?: { key: Tensor; value: Tensor };
}

/** The product before attention: norm(x) weight^T + bias. */
export interface Projection {
  /**
   * [heads * size, width]; with `append` query, key and value one after another: [(heads + 2 keyValueHeads) * size,
   * width].
   */
  weight: Weight;
  /** float32 [outputs]. */
  bias?: Tensor;
  norm?: Norm;
  /** Of query, key and value. */
  dtype?: FloatingType;
  /** As in LinearOptions. */
  quantized?: boolean;
}
export interface ProjectedAttentionOptions extends Omit<AttentionOptions, 'append' | 'dtype'> {
  /** Whether the product makes key and value too, which are rows to append then. */
  append?: boolean;
}

/** Whose weights `addWeights` adds, and to what. All int32 [entries]; all but `rows` are [pool] where that is given. */
export interface WeightPlaces {
  /** The row of the pool for each entry; an entry below 0 is idle. */
  rows?: Tensor;
  /** Rows of the scores. */
  from: Tensor;
  /** Rows of the sum, and positions in them; nothing where they are below 0. */
  to: Tensor;
  position: Tensor;
  /** Keys that count. */
  keys: Tensor;
}

/**
 * Query i of sequence b writes scale * q . k of head h to to[r, position[r], heads[h]], r = b * M + i; nothing where a
 * place is out of range.
 */
export interface AttentionScores {
  /** float32 [batch * M, positions, chosen heads, N]. */
  to: Tensor;
  /** int32 [heads]: each head's place among the chosen ones, -1 for the others. */
  heads: Tensor;
  /** int32 [batch * M]; [pool] with `rows`, where M is 1. */
  position: Tensor;
  /**
   * int32 [batch], or [pool] with `rows`, M being 1: the row of `to` that an entry writes to, instead of its own index;
   * none where it is out of range. `to` may then have any number of rows, and as with `keys` any last dimension: it
   * counts the entry's own keys.
   */
  row?: Tensor;
}

/**
 * Rows of a pool. Decoding state (tokens, positions, caches) may have more rows than a program works on: entry b of the
 * program's batch then works on row rows[b]. An entry whose row is outside of the pool is idle: it gives zeros, and
 * nothing is read or written for it. Two entries never name the same row. Absent: entry b works on row b.
 */
export interface RowsOptions {
  /** int32 [batch]. */
  rows?: Tensor;
}

export interface ConvolutionOptions extends OutputOptions {
  bias?: Tensor;
  stride?: number;
  padding?: number;
  activation?: Activation;
  /** float32 [length, channels], added to each sequence after the activation. */
  residual?: Tensor;
}

/**
 * The tensors that decoding changes from step to step. All int32 [batch] unless said otherwise; with rows of a pool,
 * [pool].
 */
export interface DecodingState {
  /** int32 [batch, capacity]: the prompt, then what was generated. */
  tokens: Tensor;
  /** float32 [batch, capacity]: log-probability of each generated token, at its place. */
  logProbability: Tensor;
  /** Tokens so far. */
  length: Tensor;
  /** The position of the token to be read next: length - 1. */
  position: Tensor;
  /** The position at which the generated tokens begin. */
  begin: Tensor;
  /** New tokens before the end token may come. */
  minimum: Tensor;
  /** New tokens, the end token counted. */
  maximum: Tensor;
  /** 1: the timestamp rules hold. */
  timestamps: Tensor;
  /** 1: this sequence has ended and is left as it is. */
  finished: Tensor;
  /**
   * float32 [batch]: divides the logits of text tokens that were generated before (multiplies negative ones); 1 for
   * none.
   */
  repetitionPenalty?: Tensor;
  /** n: no n-gram of generated text comes twice; 0 for none. */
  noRepeat?: Tensor;
  /**
   * int32 [batch, capacity, count] with topLogProbability float32 of that shape: the likeliest tokens of each place.
   */
  topTokens?: Tensor;
  topLogProbability?: Tensor;
  /** The number of tokens to rank; 0 ranks none and writes nothing. If absent, all are ranked. */
  topCount?: Tensor;
}

/** Drawing tokens: the same seed gives the same tokens on every device. */
export interface Sampling {
  /** float32 [batch]; 0 takes the likeliest token. */
  temperature: Tensor;
  /** int32 [batch]. */
  seed: Tensor;
}

/** Further state of beam search: windows of `beams` neighbouring sequences; see NextBeams in native code. */
export interface BeamState {
  /**
   * float32 [batch]: sums of log-probabilities; 0 for each window's first beam at the start, -infinity for the others.
   */
  cumulative: Tensor;
  /** int32 [batch, capacity]: attention's `source`. */
  source: Tensor;
  /** int32 [windows]: finished candidates that end the window. */
  wanted: Tensor;
  /** int32 [windows]. */
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

export interface NextTokenRules {
  /**
   * uint8 [vocabulary], or [batch, vocabulary] for each sequence its own: bit 0 suppresses always, bit 1 as the first
   * generated token.
   */
  suppressed: Tensor;
  endToken: number;
  /** The first token that is a time; the vocabulary's size, which is also the default, where there is none. */
  timestampBegin?: number;
  /** The first behind the times, which is text again; the vocabulary's size unless given. */
  timestampEnd?: number;
  noTimestampsToken?: number;
  /** Highest first timestamp, as an index from 0; -1 for any. */
  maxInitialTimestamp?: number;
}

/** The entries of a batch for which tokens are chosen. */
export interface ChoiceOptions extends RowsOptions {
  /**
   * int32 [batch]: 0 for an entry that goes alone, K for one that leads the K beams of a window (this entry and the
   * next K - 1, on neighbouring rows), -1 for the other beams. `nextToken` leaves beams as they are, `nextBeams` the
   * others.
   */
  beams?: Tensor;
}
