/** Weights of a transformer's layers. */
import type { Norm } from '../device/operations.js';
import type { Tensor } from '../device/tensor.js';

/** weight [outputs, inputs] in the model's dtype, bias float32 [outputs]. */
export interface LinearParameters {
  weight: Tensor;
  bias: Tensor;
}

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
