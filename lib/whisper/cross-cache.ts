/** Keys and values of the audio: projected once a window, and read by every step of every search. */
import type { Device } from '../device/device.js';
import type { Program } from '../device/program.js';
import type { Tensor } from '../device/tensor.js';
import type { WhisperConfig } from './config.js';
import type { KeyValueCache } from './layers.js';
import type { Parameters } from './parameters.js';
import type { DataType } from './types.js';

export class CrossCache {
  /** Windows that it holds. */
  readonly windows: number;
  /** Of each decoder layer: [windows, positions, key/value heads * head size]. */
  readonly layers: readonly KeyValueCache[];
  readonly #program: Program;

  /** `encoded` [windows, positions, width] in the model's dtype is what `project` reads. */
  constructor(device: Device, config: WhisperConfig, parameters: Parameters, dtype: DataType, encoded: Tensor) {
    const { decoder, sourcePositions, width } = config;
    this.windows = encoded.shape[0];
    const shape = [this.windows, sourcePositions, decoder.crossKeyValueHeads * (width / decoder.heads)];
    this.layers = Array.from({ length: decoder.layers }, () => ({
      key: device.tensor(dtype, shape),
      value: device.tensor(dtype, shape),
    }));
    this.#program = device.record('cross-cache', (ops) => {
      parameters.decoder.layers.forEach(({ cross }, index) => {
        ops.scope(`decoder.${index}/cross`, () => {
          for (const part of ['key', 'value'] as const) {
            ops.linear(encoded, cross[part].weight, { bias: cross[part].bias, output: this.layers[index][part] });
          }
        });
      });
    });
  }

  prepare(): Promise<void> {
    return this.#program.prepare();
  }

  project(signal?: AbortSignal): Promise<number> {
    return this.#program.run({ signal });
  }

  dispose(): void {
    this.#program.dispose();
    for (const { key, value } of this.layers) {
      key.dispose();
      value.dispose();
    }
  }
}
