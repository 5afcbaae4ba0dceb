/** The encoder. */
import type { AttentionAlgorithm, Operations } from '../../device/operations.js';
import type { Tensor } from '../../device/tensor.js';
import { encoderFeedForward, encoderSelfAttention } from '../../layers/layers.js';
import type { LayerTypes } from '../../layers/parameters.js';
import type { WhisperConfig } from '../checkpoint/config.js';
import type { Parameters } from './parameters.js';

export interface EncoderOptions {
  algorithm?: AttentionAlgorithm;
  /** Layers write their output over their input, which saves memory. CPU only: cuBLASLt needs separate tensors. */
  inPlace?: boolean;
  /** Destination of the result, in the type of the layers' values. Default: a temporary. */
  output?: Tensor;
}

/**
 * Records the encoder: features [batch, mels, frames] to [batch, positions, width]. There is one position for each two
 * frames, also for features shorter than a full window.
 */
export function recordEncoder(
  ops: Operations,
  config: WhisperConfig,
  { encoder }: Parameters,
  types: LayerTypes,
  features: Tensor,
  { algorithm = 'memory-efficient', inPlace = false, output }: EncoderOptions = {},
): Tensor {
  const { heads, keyValueHeads } = config.encoder;
  const shape = { heads, keyValueHeads, algorithm };
  const dtype = types.values;
  const [first, second] = encoder.convolutions;
  const positions = features.shape[2] / 2;
  let x = ops.transposeCast(features, { dtype });
  x = ops.convolution(x, first.weight, { bias: first.bias, padding: 1, activation: 'gelu' });
  x = ops.convolution(x, second.weight, {
    bias: second.bias,
    padding: 1,
    stride: 2,
    activation: 'gelu',
    residual: encoder.positions.part(0, [positions, config.width]),
    dtype: 'float32',
  });
  const layerOutput = inPlace ? x : undefined;
  encoder.layers.forEach((layer, index) => {
    ops.scope(`encoder.${index}`, () => {
      x = encoderSelfAttention(ops, x, layer.self, { shape, types, output: layerOutput });
      x = encoderFeedForward(ops, x, layer.feedForward, { types, output: layerOutput });
    });
  });
  return ops.layerNorm(x, encoder.norm, { output, dtype });
}
