/** Whisper's layers, recorded: each takes the residual stream x (float32) and gives it back with its own part added. */
import type { AttentionAlgorithm, AttentionOptions, AttentionScores, Operations } from '../device/operations.js';
import type { Tensor } from '../device/tensor.js';
import type { FloatingType } from '../element-types.js';
import type { CrossAttentionParameters, FeedForwardParameters, SelfAttentionParameters } from './parameters.js';

export interface AttentionShape {
  heads: number;
  keyValueHeads: number;
  algorithm?: AttentionAlgorithm;
  /** Of a cache that is reordered by index. */
  source?: Tensor;
  /** The rows of a pool that the entries are, and the positions of a pool that they see; see AttentionOptions. */
  rows?: AttentionOptions['rows'];
  keys?: AttentionOptions['keys'];
  scores?: AttentionScores;
}

/** Keys and values of each position, [batch, positions, key/value heads * head size]. */
export interface KeyValueCache {
  key: Tensor;
  value: Tensor;
}

/** Views of a product's columns: [query | key | value]. */
function splitQueryKeyValue(product: Tensor, width: number): [Tensor, Tensor, Tensor] {
  const shared = (product.shape[product.shape.length - 1] - width) / 2;
  return [product.columns(0, width), product.columns(width, shared), product.columns(width + shared, shared)];
}

/** The encoder's: every position sees every other. */
export function encoderSelfAttention(
  ops: Operations,
  x: Tensor,
  parameters: SelfAttentionParameters,
  shape: AttentionShape,
  dtype: FloatingType,
): Tensor {
  const normed = ops.layerNorm(x, parameters.norm, { dtype });
  const { weight, bias } = parameters.queryKeyValue;
  const [query, key, value] = splitQueryKeyValue(ops.linear(normed, weight, { bias }), x.shape[2]);
  const mixed = ops.attention(query, key, value, { algorithm: 'memory-efficient', ...shape });
  return ops.linear(mixed, parameters.out.weight, { bias: parameters.out.bias, residual: x });
}

/** The decoder's: appends this call's keys and values at start[b] and sees what is before. */
export function decoderSelfAttention(
  ops: Operations,
  x: Tensor,
  parameters: SelfAttentionParameters,
  cache: KeyValueCache,
  start: Tensor,
  shape: AttentionShape,
): Tensor {
  const { weight, bias } = parameters.queryKeyValue;
  const product = ops.linear(x, weight, { bias, norm: parameters.norm });
  const [query, key, value] = splitQueryKeyValue(product, x.shape[2]);
  const mixed = ops.attention(query, cache.key, cache.value, { ...shape, causal: true, start, append: { key, value } });
  return ops.linear(mixed, parameters.out.weight, { bias: parameters.out.bias, residual: x });
}

/**
 * Attention to the audio, whose keys and values were projected once for the window. With `keys` the cache is one pool of
 * positions, [1, positions, ...]; without `rows` their tensors may name a range for each token of x. Without them it has a sequence for each
 * window, and x may hold several sequences a window, [windows * sequences, 1, width]: one pass over the window's keys and values serves them all.
 */
export function crossAttention(
  ops: Operations,
  x: Tensor,
  parameters: CrossAttentionParameters,
  cache: KeyValueCache,
  shape: AttentionShape,
): Tensor {
  const { bias } = parameters.query;
  const query = ops.linear(x, parameters.query.weight, { bias, norm: parameters.norm });
  const windows = shape.keys && !shape.rows ? shape.keys.begin.shape[0] : (shape.keys ? x : cache.key).shape[0];
  const together = query.reshape([windows, (x.shape[0] * x.shape[1]) / windows, x.shape[2]]);
  const mixed = ops.attention(together, cache.key, cache.value, shape).reshape(x.shape);
  return ops.linear(mixed, parameters.out.weight, { bias: parameters.out.bias, residual: x });
}

/** `dtype` given: the norm is an operation of its own, which is faster for many rows; absent: fused into the product. */
export function feedForward(
  ops: Operations,
  x: Tensor,
  parameters: FeedForwardParameters,
  dtype?: FloatingType,
): Tensor {
  const { up, down, norm } = parameters;
  const inner = dtype
    ? ops.linear(ops.layerNorm(x, norm, { dtype }), up.weight, { bias: up.bias, activation: 'gelu' })
    : ops.linear(x, up.weight, { bias: up.bias, norm, activation: 'gelu' });
  return ops.linear(inner, down.weight, { bias: down.bias, residual: x });
}
