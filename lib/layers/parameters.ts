/** Weights of a transformer's layers. */
import type { Norm, Weight } from '../device/operations.js';
import { Tensor } from '../device/tensor.js';
import type { ComputeType, FloatingType } from '../element-types.js';

/** weight [outputs, inputs], bias float32 [outputs]. */
export interface LinearParameters {
  weight: Weight;
  bias: Tensor;
}

/** Types used to compute the layers. */
export interface LayerTypes {
  /** The type of results of operations; the residual stream is float32. */
  values: FloatingType;
  /** The type of the other operand of products with 8-bit weights: with 'int8', each row of x is quantized too. */
  activations: ComputeType;
}

/** True for an 8-bit weight. */
export const isQuantized = (weight: Weight): boolean => !(weight instanceof Tensor);

/** `queryKeyValue` has the concatenated rows of query, key and value, so that one product computes all three. */
export interface SelfAttentionParameters {
  norm: Norm;
  queryKeyValue: LinearParameters;
  out: LinearParameters;
}

export interface CrossAttentionParameters {
  norm: Norm;
  query: LinearParameters;
  key: LinearParameters;
  value: LinearParameters;
  out: LinearParameters;
}

export interface FeedForwardParameters {
  norm: Norm;
  up: LinearParameters;
  down: LinearParameters;
}

export interface EncoderLayer {
  self: SelfAttentionParameters;
  feedForward: FeedForwardParameters;
}

export interface DecoderLayer extends EncoderLayer {
  cross: CrossAttentionParameters;
}
