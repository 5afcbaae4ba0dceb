/** Records the decoder's layers, the logits, and the projection and storage of cross-attention keys and values. */
import type { AttentionAlgorithm, AttentionScores, NextTokenRules, Operations } from '../../device/operations.js';
import type { Tensor } from '../../device/tensor.js';
import { crossAttention, decoderSelfAttention, feedForward, type KeyValueCache } from '../../layers/layers.js';
import {
  type CrossAttentionParameters,
  isQuantized,
  type LayerTypes,
  type LinearParameters,
} from '../../layers/parameters.js';
import type { GenerationConfig, WhisperConfig } from '../checkpoint/config.js';
import type { Parameters } from './parameters.js';

/** Destination of each layer's cross-attention scores; undefined for a layer whose scores are not written. */
export type LayerScores = readonly (AttentionScores | undefined)[];

/**
 * The tensors that the layers read and write. There are R rows of state; `rows` maps each entry of the batch to one (if
 * absent, entry b to row b).
 */
export interface DecoderRun {
  /** int32 [R, capacity]. */
  tokens: Tensor;
  /** int32 [R]: the position of each row's first token of this run. */
  start: Tensor;
  /** Number of tokens of each entry. */
  count: number;
  /** int32 [batch]; an entry whose row is negative is idle. */
  rows?: Tensor;
  /** int32 [R, capacity]: the block table of beams, with blocks of one position. */
  source?: Tensor;
  /** Each layer's self-attention cache, [R, capacity, key/value heads * head size]. */
  self: readonly KeyValueCache[];
  /** Returns a layer's cross-attention cache. */
  cross(ops: Operations, layer: number): KeyValueCache;
  /**
   * int32 [R]: the range of audio positions that each row attends to, of at most `longest`. Absent if the
   * cross-attention cache has one sequence for each window.
   */
  audio?: { begin: Tensor; count: Tensor; longest: number };
  /**
   * True if `audio` and the rows and positions of `scores` have one element for each token instead of each row: int32
   * [batch * count].
   */
  tokenwise?: boolean;
  /** Destinations of the cross-attention scores. */
  scores?: LayerScores;
  /** Records operations on a layer's scores. The next layer may overwrite them. */
  onScores?: (ops: Operations, layer: number) => void;
  algorithms?: { self?: AttentionAlgorithm; cross?: AttentionAlgorithm };
  types?: LayerTypes;
}

/** Records the decoder's layers. Returns the output of the last one before the norm: float32 [batch, count, width]. */
export function recordDecoder(
  ops: Operations,
  config: WhisperConfig,
  { decoder }: Parameters,
  run: DecoderRun,
): Tensor {
  const { heads, keyValueHeads, crossKeyValueHeads } = config.decoder;
  const { start, rows, count, source, audio, tokenwise = false, algorithms = {}, types } = run;
  // In a step, a window's sequences may be the queries of one entry. For several queries 'auto' prefers another
  // algorithm, which suits prompts, but these are few queries over many keys.
  const crossAlgorithm = algorithms.cross ?? (count === 1 || tokenwise ? 'split-kv' : undefined);
  let x = ops.embed(run.tokens, start, decoder.tokens, decoder.positions, { count, rows });
  decoder.layers.forEach((layer, index) => {
    ops.scope(`decoder.${index}`, () => {
      const selfShape = { heads, keyValueHeads, algorithm: algorithms.self, source, rows };
      x = ops.scope('self', () =>
        decoderSelfAttention(ops, x, layer.self, { cache: run.self[index], start, shape: selfShape, types }),
      );
      const crossShape = {
        heads,
        keyValueHeads: crossKeyValueHeads,
        algorithm: crossAlgorithm,
        rows: audio && !tokenwise ? rows : undefined,
        keys: audio,
        scores: run.scores?.[index],
      };
      x = ops.scope('cross', () =>
        crossAttention(ops, x, layer.cross, { cache: run.cross(ops, index), shape: crossShape, types }),
      );
      run.onScores?.(ops, index);
      x = ops.scope('feed-forward', () => feedForward(ops, x, layer.feedForward, types));
    });
  });
  return x;
}

/** Records the logits of every row of x: float32 [..., vocabulary]. */
export function recordLogits(
  ops: Operations,
  { decoder }: Parameters,
  x: Tensor,
  { output, types }: { output?: Tensor; types?: LayerTypes } = {},
): Tensor {
  const quantized = isQuantized(decoder.output) && types?.activations === 'int8';
  const options = { norm: decoder.norm, dtype: 'float32', output, ...(quantized && { quantized }) } as const;
  return ops.scope('logits', () => ops.linear(x, decoder.output, options));
}

/** The checkpoint's values for the rules by which the device chooses tokens. */
export const tokenRules = (generation: GenerationConfig): Omit<NextTokenRules, 'suppressed'> => ({
  endToken: generation.endToken,
  timestampBegin: generation.timestampBegin,
  timestampEnd: generation.timestampEnd,
  noTimestampsToken: generation.noTimestampsToken ?? -1,
  maxInitialTimestamp: generation.maxInitialTimestamp ?? -1,
});

/**
 * Records a layer's cross-attention keys and values of encoded audio [batch, positions, width], in the encoder's types.
 */
export function recordAudioKeyValues(
  ops: Operations,
  { key, value }: CrossAttentionParameters,
  encoded: Tensor,
  { output, types }: { output?: KeyValueCache; types?: LayerTypes } = {},
): KeyValueCache {
  const project = ({ weight, bias }: LinearParameters, output?: Tensor) => {
    const quantized = isQuantized(weight) && types?.activations === 'int8';
    return ops.linear(encoded, weight, { bias, dtype: types?.values, output, ...(quantized && { quantized }) });
  };
  return { key: project(key, output?.key), value: project(value, output?.value) };
}

/**
 * Records a write of keys and values [batch, positions, ...] to a cache, beginning at the positions `begins`, int32
 * [batch]. They are converted to the cache's type.
 */
export function recordCacheWrite(ops: Operations, from: KeyValueCache, to: KeyValueCache, begins: Tensor): void {
  ops.scatterRows(from.key, to.key, begins, { scales: to.scales?.key });
  ops.scatterRows(from.value, to.value, begins, { scales: to.scales?.value });
}
