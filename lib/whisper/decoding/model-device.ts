/** A model on one device: its weights, its runtime, and the engine that shares it among requests. */
import type { Device } from '../../device/device.js';
import { Engine } from '../../engine/engine.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { isQuantizedFile } from '../checkpoint/quantize.js';
import { bestTypes, chooseProducts } from '../model/best-types.js';
import { loadParameters, type Parameters } from '../model/parameters.js';
import { type Capacity, chooseCapacity } from '../model/plan.js';
import { type DataType, type Precision, type PrecisionOptions, resolvePrecision } from '../model/precision.js';
import { WhisperRuntime } from '../model/runtime.js';
import type { WordHeads } from '../model/word-heads.js';
import type { WhisperEngine } from './window-languages.js';

/** The maximum number of windows that a GPU encodes at once. A CPU encodes one, which uses all of its threads. */
const gpuEncodeBatch = 8;

export class ModelDevice {
  readonly device: Device;
  readonly precision: Precision;
  readonly capacity: Capacity;
  readonly runtime: WhisperRuntime;
  readonly engine: WhisperEngine;
  readonly #parameters: Parameters;

  private constructor(
    device: Device,
    precision: Precision,
    capacity: Capacity,
    parameters: Parameters,
    checkpoint: Checkpoint,
    words: WordHeads,
  ) {
    const { windows } = capacity;
    const encodeBatch = device.kind === 'cpu' ? 1 : Math.min(gpuEncodeBatch, 2 ** Math.floor(Math.log2(windows)));
    this.device = device;
    this.precision = precision;
    this.capacity = capacity;
    this.#parameters = parameters;
    this.runtime = new WhisperRuntime({ device, checkpoint, parameters, precision, words, ...capacity, encodeBatch });
    this.engine = new Engine(this.runtime, { device: device.kind });
  }

  /**
   * Loads the weights and allocates all memory that serving needs. Throws OneheadError; the caller closes the device.
   */
  static async open(
    device: Device,
    checkpoint: Checkpoint,
    types: { dtype: DataType | 'auto'; precision?: PrecisionOptions },
    requested: Partial<Capacity>,
    words: WordHeads,
  ): Promise<ModelDevice> {
    const { config } = checkpoint;
    // By default a quantized file is computed in 8 bits.
    const dtype = types.dtype === 'auto' && isQuantizedFile(checkpoint.tensors) ? 'int8' : types.dtype;
    const precision = await resolvePrecision(device, dtype, types.precision, () => bestTypes(device, dtype));
    device.integerProducts = await chooseProducts(device, precision);
    const capacity = chooseCapacity(config, words, precision, requested, device);
    const parameters = await loadParameters(device, checkpoint, precision);
    const opened = new ModelDevice(device, precision, capacity, parameters, checkpoint, words);
    await opened.runtime.prepare();
    if (device.kind.startsWith('cuda') && !device.kind.startsWith('cuda-emulated')) await opened.runtime.rehearse();
    return opened;
  }

  /** Names (in the checkpoint) of the weights that are too sensitive for 8 bits. They are kept in 16 or 32 bits. */
  get sensitive(): readonly string[] {
    return this.#parameters.sensitive;
  }

  /** Frees all memory and closes the device. Open requests are rejected. */
  dispose(): void {
    this.engine.close();
    this.device.close();
    this.runtime.dispose();
    for (const tensor of this.#parameters.all) tensor.dispose();
  }
}
