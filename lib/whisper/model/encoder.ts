/** The encoder as a program: features [batch, mels, frames] to [batch, positions, width]. */
import type { Device } from '../../device/device.js';
import type { AttentionAlgorithm } from '../../device/operations.js';
import type { Program } from '../../device/program.js';
import type { Tensor } from '../../device/tensor.js';
import { encoderSelfAttention, feedForward } from '../../layers/layers.js';
import type { WhisperConfig } from '../checkpoint/config.js';
import type { Parameters } from './parameters.js';
import type { DataType } from './types.js';

/** Records the encoder over `features` into `encoded`, which is in the model's dtype. */
export function recordEncoder(
  device: Device,
  config: WhisperConfig,
  { encoder }: Parameters,
  dtype: DataType,
  features: Tensor,
  encoded: Tensor,
  algorithm: AttentionAlgorithm = 'memory-efficient',
): Program {
  const { heads, keyValueHeads } = config.encoder;
  const [first, second] = encoder.convolutions;
  return device.record('encode', (ops) => {
    let x = ops.transposeCast(features, { dtype });
    x = ops.convolution(x, first.weight, { bias: first.bias, padding: 1, activation: 'gelu' });
    x = ops.convolution(x, second.weight, {
      bias: second.bias,
      padding: 1,
      stride: 2,
      activation: 'gelu',
      residual: encoder.positions,
      dtype: 'float32',
    });
    encoder.layers.forEach((layer, index) => {
      ops.scope(`encoder.${index}`, () => {
        x = encoderSelfAttention(ops, x, layer.self, { heads, keyValueHeads, algorithm }, dtype);
        x = feedForward(ops, x, layer.feedForward, dtype);
      });
    });
    ops.layerNorm(x, encoder.norm, { output: encoded, dtype });
  });
}
