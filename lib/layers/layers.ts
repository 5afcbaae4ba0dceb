/** Whisper's layers, recorded as operations: each adds its part to the residual stream x (float32). */
import type {
  AttentionAlgorithm,
  AttentionOptions,
  AttentionScores,
  LinearOptions,
  Norm,
  Operations,
  Projection,
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
  /** The pool rows of the batch entries, and the ranges of positions that they see; see AttentionOptions. */
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

/** A product with the layers' types; a missing type defaults to the weight's own. */
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
 * The product of the norm of x. For many rows the norm is a separate operation, which is faster, unless rows are
 * quantized after it.
 */
function normedProduct(
  ops: Operations,
  x: Tensor,
  parameters: LinearParameters,
  norm: Norm,
  types: LayerTypes,
  options: LinearOptions = {},
): Tensor {
  if (isQuantized(parameters.weight)) return product(ops, x, parameters, types, { ...options, norm });
  return product(ops, ops.layerNorm(x, norm, { dtype: types.values }), parameters, types, options);
}

/** The projection of queries, or of queries, keys and values, from the norm of x. */
const projection = ({ weight, bias }: LinearParameters, norm: Norm, types: LayerTypes | undefined): Projection => ({
  weight,
  bias,
  norm,
  dtype: types?.values,
  quantized: isQuantized(weight) && types?.activations === 'int8',
});

/** Returns three views of a product's columns: [query | key | value]. */
function splitQueryKeyValue(all: Tensor, width: number): [Tensor, Tensor, Tensor] {
  const shared = (all.shape[all.shape.length - 1] - width) / 2;
  return [all.columns(0, width), all.columns(width, shared), all.columns(width + shared, shared)];
}

/** Self-attention of the encoder: every position sees every other. `output` may be x. */
export function encoderSelfAttention(
  ops: Operations,
  x: Tensor,
  parameters: SelfAttentionParameters,
  shape: AttentionShape,
  types: LayerTypes,
  output?: Tensor,
): Tensor {
  const all = normedProduct(ops, x, parameters.queryKeyValue, parameters.norm, types);
  const [query, key, value] = splitQueryKeyValue(all, x.shape[2]);
  const mixed = ops.attention(query, key, value, { algorithm: 'memory-efficient', ...shape });
  return product(ops, mixed, parameters.out, types, { residual: x, output });
}

/**
 * Self-attention of the decoder: appends this call's keys and values at start[b], and attends to all positions up to
 * its own.
 */
export function decoderSelfAttention(
  ops: Operations,
  x: Tensor,
  parameters: SelfAttentionParameters,
  cache: KeyValueCache,
  start: Tensor,
  shape: AttentionShape,
  types?: LayerTypes,
): Tensor {
  const made = projection(parameters.queryKeyValue, parameters.norm, types);
  const causal = { causal: true, start, append: true, cacheScales: cache.scales };
  const mixed = ops.projectedAttention(x, made, cache.key, cache.value, { ...shape, ...causal });
  return product(ops, mixed, parameters.out, types, { residual: x });
}

/**
 * Cross-attention to the audio, whose keys and values were projected once for the window.
 *
 * With `keys`, the cache is one pool of positions, [1, positions, ...]; without `rows`, the tensors of `keys` may name
 * a range for each token of x. Without `keys`, the cache has one sequence for each window, and x may hold several
 * sequences for each window, [windows * sequences, 1, width]: one pass over the window's keys and values serves them
 * all.
 */
export function crossAttention(
  ops: Operations,
  x: Tensor,
  parameters: CrossAttentionParameters,
  cache: KeyValueCache,
  shape: AttentionShape,
  types?: LayerTypes,
): Tensor {
  const made = projection(parameters.query, parameters.norm, types);
  const windows = shape.keys && !shape.rows ? shape.keys.begin.shape[0] : (shape.keys ? x : cache.key).shape[0];
  const together = x.reshape([windows, (x.shape[0] * x.shape[1]) / windows, x.shape[2]]);
  const options = { ...shape, cacheScales: cache.scales };
  const mixed = ops.projectedAttention(together, made, cache.key, cache.value, options).reshape(x.shape);
  return product(ops, mixed, parameters.out, types, { residual: x });
}

/** Feed-forward layer of the decoder: for few rows, with the norm fused into the product. */
export function feedForward(
  ops: Operations,
  x: Tensor,
  { up, down, norm }: FeedForwardParameters,
  types?: LayerTypes,
): Tensor {
  const inner = product(ops, x, up, types, { norm, activation: 'gelu' });
  return product(ops, inner, down, types, { residual: x });
}

/** Feed-forward layer of the encoder. `output` may be x. */
export function encoderFeedForward(
  ops: Operations,
  x: Tensor,
  { up, down, norm }: FeedForwardParameters,
  types: LayerTypes,
  output?: Tensor,
): Tensor {
  const inner = normedProduct(ops, x, up, norm, types, { activation: 'gelu' });
  return product(ops, inner, down, types, { residual: x, output });
}
