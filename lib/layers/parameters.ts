/** Weights of a transformer's layers. */
import type { Norm, Weight } from '../device/operations.js';
import { Tensor } from '../device/tensor.js';
import type { ComputeType, FloatingType } from '../element-types.js';

/** weight [outputs, inputs], bias float32 [outputs]. */
export interface LinearParameters {
  weight: Weight;
  bias: Tensor;
}

/** What layers compute in. */
export interface LayerTypes {
  /** Of what goes from one operation to the next; the residual stream is float32. */
  values: FloatingType;
  /** What is multiplied with weights of 8 bits: 'int8' where each row becomes 8 bits too. */
  activations: ComputeType;
}

/** True for a weight of 8 bits. */
export const isQuantized = (weight: Weight): boolean => !(weight instanceof Tensor);

/** `queryKeyValue` holds query, key and value rows one after another, so that one product makes all three. */
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
