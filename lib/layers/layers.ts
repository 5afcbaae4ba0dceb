/** Records transformer layers as operations. Each adds its output to the residual stream x (float32). */
import type {
  AttentionAlgorithm,
  AttentionOptions,
  AttentionScores,
  LinearOptions,
  Norm,
  Operations,
} from '../device/operations.js';
import type { Tensor } from '../device/tensor.js';
import {
  type CrossAttentionParameters,
  type FeedForwardParameters,
  isQuantized,
  type LayerTypes,
  type LinearParameters,
  type SelfAttentionParameters,
} from './parameters.js';

export interface AttentionShape {
  heads: number;
  keyValueHeads: number;
  algorithm?: AttentionAlgorithm;
  /** The block table, if beams share the cache. */
  source?: Tensor;
  /** Pool rows of the batch entries, and their ranges of positions; see AttentionOptions. */
  rows?: AttentionOptions['rows'];
  keys?: AttentionOptions['keys'];
  scores?: AttentionScores;
}

/** Keys and values of each position, [batch, positions, key/value heads * head size]. */
export interface KeyValueCache {
  key: Tensor;
  value: Tensor;
  /** Scales of int8 keys and values: float32 [batch, positions, key/value heads]. */
  scales?: { key: Tensor; value: Tensor };
}

/** Records a product with the layers' types; without `types` it has the type of the weight. */
function product(
  ops: Operations,
  x: Tensor,
  { weight, bias }: LinearParameters,
  types: LayerTypes | undefined,
  options: LinearOptions = {},
): Tensor {
  const quantized = isQuantized(weight) && types?.activations === 'int8';
  const dtype = options.residual ? undefined : types?.values;
  return ops.linear(x, weight, { bias, dtype, ...(quantized && { quantized }), ...options });
}

/**
 * Records a product of norm(x), for many rows. A separate norm is faster than a fused one, except for 8-bit weights,
 * where x is quantized after the norm.
 */
function normedProduct(
  ops: Operations,
  x: Tensor,
  parameters: LinearParameters,
  types: LayerTypes,
  { norm, ...options }: LinearOptions & { norm: Norm },
): Tensor {
  if (isQuantized(parameters.weight)) return product(ops, x, parameters, types, { ...options, norm });
  return product(ops, ops.layerNorm(x, norm, { dtype: types.values }), parameters, types, options);
}

/** Returns three views of a product's columns: [query | key | value]. */
function splitQueryKeyValue(all: Tensor, width: number): [Tensor, Tensor, Tensor] {
  const shared = (all.shape[all.shape.length - 1] - width) / 2;
  return [all.columns(0, width), all.columns(width, shared), all.columns(width + shared, shared)];
}

/**
 * Records self-attention of the encoder, in which all positions attend to each other: x [batch, positions, width].
 * `output` may be x.
 */
export function encoderSelfAttention(
  ops: Operations,
  x: Tensor,
  parameters: SelfAttentionParameters,
  { shape, types, output }: { shape: AttentionShape; types: LayerTypes; output?: Tensor },
): Tensor {
  const all = normedProduct(ops, x, parameters.queryKeyValue, types, { norm: parameters.norm });
  const [query, key, value] = splitQueryKeyValue(all, x.shape[2]);
  const mixed = ops.attention(query, key, value, { algorithm: 'memory-efficient', ...shape });
  return product(ops, mixed, parameters.out, types, { residual: x, output });
}

/**
 * Records causal self-attention of the decoder, x [batch, count, width]. Keys and values are appended to the cache at
 * positions start[b] ...
 */
export function decoderSelfAttention(
  ops: Operations,
  x: Tensor,
  parameters: SelfAttentionParameters,
  { cache, start, shape, types }: { cache: KeyValueCache; start: Tensor; shape: AttentionShape; types?: LayerTypes },
): Tensor {
  const all = product(ops, x, parameters.queryKeyValue, types, { norm: parameters.norm });
  const [query, key, value] = splitQueryKeyValue(all, x.shape[2]);
  const causal = { causal: true, start, append: { key, value }, cacheScales: cache.scales };
  const mixed = ops.attention(query, cache.key, cache.value, { ...shape, ...causal });
  return product(ops, mixed, parameters.out, types, { residual: x });
}

/**
 * Records cross-attention to the cached keys and values of the audio.
 *
 * With `keys`, the cache is one pool of positions, [1, positions, ...]; without `rows`, `keys` may have one range for
 * each token of x. Without `keys`, the cache has one sequence for each window, and x may have several sequences for
 * each window, [windows * sequences, 1, width], which share one pass over the window's keys and values.
 */
export function crossAttention(
  ops: Operations,
  x: Tensor,
  parameters: CrossAttentionParameters,
  { cache, shape, types }: { cache: KeyValueCache; shape: AttentionShape; types?: LayerTypes },
): Tensor {
  const query = product(ops, x, parameters.query, types, { norm: parameters.norm });
  const entries = shape.keys && !shape.rows ? shape.keys.begin.shape[0] : (shape.keys ? x : cache.key).shape[0];
  const grouped = query.reshape([entries, (x.shape[0] * x.shape[1]) / entries, x.shape[2]]);
  const options = { ...shape, cacheScales: cache.scales };
  const mixed = ops.attention(grouped, cache.key, cache.value, options).reshape(x.shape);
  return product(ops, mixed, parameters.out, types, { residual: x });
}

/** Records the feed-forward layer of the decoder. The norm is fused into the product, for few rows. */
export function feedForward(
  ops: Operations,
  x: Tensor,
  { up, down, norm }: FeedForwardParameters,
  types?: LayerTypes,
): Tensor {
  const inner = product(ops, x, up, types, { norm, activation: 'gelu' });
  return product(ops, inner, down, types, { residual: x });
}

/** Records the feed-forward layer of the encoder. `output` may be x. */
export function encoderFeedForward(
  ops: Operations,
  x: Tensor,
  { up, down, norm }: FeedForwardParameters,
  { types, output }: { types: LayerTypes; output?: Tensor },
): Tensor {
  const inner = normedProduct(ops, x, up, types, { norm, activation: 'gelu' });
  return product(ops, inner, down, types, { residual: x, output });
}
