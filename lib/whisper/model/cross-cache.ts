/** Keys and values of the audio: projected once a window, and read by every step of every search. */
import type { Device } from '../../device/device.js';
import type { Operations } from '../../device/operations.js';
import type { Program } from '../../device/program.js';
import type { Tensor } from '../../device/tensor.js';
import type { KeyValueCache } from '../../layers/layers.js';
import type { DecoderLayer } from '../../layers/parameters.js';
import type { WhisperConfig } from '../checkpoint/config.js';
import type { Parameters } from './parameters.js';
import type { AttentionChoice, DataType } from './types.js';

export class CrossCache {
  /** Windows that it holds. */
  readonly windows: number;
  /** Of each decoder layer: [windows, positions, key/value heads * head size]. */
  readonly layers: readonly KeyValueCache[];
  readonly #program: Program;
  readonly #parameters: Parameters;
  readonly #encoded: Tensor;
  readonly #use: AttentionChoice['crossKeyValues'];

  /** `encoded` [windows, positions, width] in the model's dtype is what `project` reads. `use` is for measurements. */
  constructor(
    device: Device,
    config: WhisperConfig,
    parameters: Parameters,
    dtype: DataType,
    encoded: Tensor,
    use: AttentionChoice['crossKeyValues'] = 'cached',
  ) {
    this.#parameters = parameters;
    this.#encoded = encoded;
    this.#use = use;
    const { decoder, sourcePositions, width } = config;
    this.windows = encoded.shape[0];
    const shape = [this.windows, sourcePositions, decoder.crossKeyValueHeads * (width / decoder.heads)];
    this.layers = Array.from({ length: decoder.layers }, () => ({
      key: device.tensor(dtype, shape),
      value: device.tensor(dtype, shape),
    }));
    this.#program = device.record('cross-cache', (ops) => {
      parameters.decoder.layers.forEach((layer, index) => {
        ops.scope(`decoder.${index}/cross`, () => this.#project(ops, layer, this.layers[index]));
      });
    });
  }

  /** A layer's keys and values of the audio, into its cache or into temporaries. */
  #project(ops: Operations, { cross }: DecoderLayer, into?: KeyValueCache): KeyValueCache {
    const project = (part: 'key' | 'value') =>
      ops.linear(this.#encoded, cross[part].weight, { bias: cross[part].bias, output: into?.[part] });
    return { key: project('key'), value: project('value') };
  }

  /** What a step of this layer reads: the cache itself, unless something else is to be measured. */
  keyValues(ops: Operations, index: number): KeyValueCache {
    const cache = this.layers[index];
    switch (this.#use) {
      case 'copied':
        return { key: ops.copy(cache.key), value: ops.copy(cache.value) };
      case 'recomputed':
        return this.#project(ops, this.#parameters.decoder.layers[index]);
      default:
        return cache;
    }
  }

  prepare(): Promise<void> {
    return this.#program.prepare();
  }

  project(signal?: AbortSignal): Promise<number> {
    if (this.#use === 'recomputed') return Promise.resolve(0);
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
