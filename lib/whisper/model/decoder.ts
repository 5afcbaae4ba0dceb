/**
 * The decoder, recorded: its layers over chosen rows of a pool of state, the logits, and the audio's keys and values.
 */
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

/** One entry for each layer; undefined for a layer whose scores are not wanted. */
export type LayerScores = readonly (AttentionScores | undefined)[];

/**
 * The tensors that the layers read and write. There are R rows of state; `rows` names the row of each entry of the
 * batch (if absent, all in order).
 */
export interface DecoderRun {
  /** int32 [R, capacity]. */
  tokens: Tensor;
  /** int32 [R]: where each row's first token of this run stands. */
  start: Tensor;
  /** Tokens of each entry. */
  count: number;
  /** int32 [batch]; a negative row is idle. */
  rows?: Tensor;
  /** int32 [R, capacity]: the block table of beams, with blocks of one position. */
  source?: Tensor;
  /** Each layer's cache, [R, capacity, key/value heads * head size]. */
  self: readonly KeyValueCache[];
  /** Each layer's keys and values of the audio. */
  cross(ops: Operations, layer: number): KeyValueCache;
  /**
   * int32 [R]: which of the audio positions a row attends to; absent where cross-attention's caches have a sequence for
   * each window.
   */
  audio?: { begin: Tensor; count: Tensor };
  /**
   * True where `audio` and the rows and positions of `scores` are given for each token that is read, int32 [batch *
   * count], in their order.
   */
  tokenwise?: boolean;
  /** Each layer's scores that are given out. */
  scores?: LayerScores;
  /** Records what is done with a layer's scores before the next layer's come. */
  onScores?: (ops: Operations, layer: number) => void;
  algorithms?: { self?: AttentionAlgorithm; cross?: AttentionAlgorithm };
  types?: LayerTypes;
}

/** Records the decoder's layers: float32 [batch, count, width]. */
export function recordDecoder(
  ops: Operations,
  config: WhisperConfig,
  { decoder }: Parameters,
  run: DecoderRun,
): Tensor {
  const { heads, keyValueHeads, crossKeyValueHeads } = config.decoder;
  const { start, rows, count, source, audio, tokenwise = false, algorithms = {}, types } = run;
  // In a step a window's sequences are few rows over many keys, however many they are.
  const crossAlgorithm = algorithms.cross ?? (count === 1 || tokenwise ? 'split-kv' : undefined);
  let x = ops.embed(run.tokens, start, decoder.tokens, decoder.positions, { count, rows });
  decoder.layers.forEach((layer, index) => {
    ops.scope(`decoder.${index}`, () => {
      const selfShape = { heads, keyValueHeads, algorithm: algorithms.self, source, rows };
      x = ops.scope('self', () => decoderSelfAttention(ops, x, layer.self, run.self[index], start, selfShape, types));
      const crossShape = {
        heads,
        keyValueHeads: crossKeyValueHeads,
        algorithm: crossAlgorithm,
        rows: audio && !tokenwise ? rows : undefined,
        keys: audio,
        scores: run.scores?.[index],
      };
      x = ops.scope('cross', () => crossAttention(ops, x, layer.cross, run.cross(ops, index), crossShape, types));
      run.onScores?.(ops, index);
      x = ops.scope('feed-forward', () => feedForward(ops, x, layer.feedForward, types));
    });
  });
  return x;
}

/** Logits of every row of x: float32 [..., vocabulary]. */
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

/** The checkpoint's part of the rules by which the device chooses tokens. */
export const tokenRules = (generation: GenerationConfig): Omit<NextTokenRules, 'suppressed'> => ({
  endToken: generation.endToken,
  timestampBegin: generation.timestampBegin,
  timestampEnd: generation.timestampEnd,
  noTimestampsToken: generation.noTimestampsToken ?? -1,
  maxInitialTimestamp: generation.maxInitialTimestamp ?? -1,
});

/** A layer's keys and values of encoded audio [batch, positions, width]; `types` are the encoder's. */
export function recordAudioKeyValues(
  ops: Operations,
  { key, value }: CrossAttentionParameters,
  encoded: Tensor,
  { output, types }: { output?: KeyValueCache; types?: LayerTypes } = {},
): KeyValueCache {
  const project = ({ weight, bias }: LinearParameters, to?: Tensor) => {
    const quantized = isQuantized(weight) && types?.activations === 'int8';
    return ops.linear(encoded, weight, { bias, dtype: types?.values, output: to, ...(quantized && { quantized }) });
  };
  return { key: project(key, output?.key), value: project(value, output?.value) };
}

/**
 * Writes keys and values [batch, positions, ...] to a cache, in whatever type that is, from the positions `begins`
 * int32 [batch] on.
 */
export function recordCacheWrite(ops: Operations, from: KeyValueCache, to: KeyValueCache, begins: Tensor): void {
  ops.scatterRows(from.key, to.key, begins, { scales: to.scales?.key });
  ops.scatterRows(from.value, to.value, begins, { scales: to.scales?.value });
}
