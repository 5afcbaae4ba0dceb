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
  /** The type of values between operations; the residual stream is float32. */
  values: FloatingType;
  /** The type that 8-bit weights are multiplied with: with 'int8', each row of x is quantized too. */
  activations: ComputeType;
}

/** True for a weight of 8 bits. */
export const isQuantized = (weight: Weight): boolean => !(weight instanceof Tensor);

/** `queryKeyValue` holds the rows of query, key and value one after another, so that one product computes all three. */
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
