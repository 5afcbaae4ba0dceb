/** A model on one device: its weights, its runtime, and the engine that shares it among requests. */
import type { Device } from '../../device/device.js';
import { Engine } from '../../engine/engine.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { loadParameters, type Parameters } from '../model/parameters.js';
import { type Capacity, chooseCapacity } from '../model/plan.js';
import { WhisperRuntime } from '../model/runtime.js';
import type { DataType } from '../model/types.js';
import type { WordHeads } from '../model/word-heads.js';
import type { WhisperEngine } from './window-languages.js';

/** Windows that are encoded at once: a GPU is filled by several, a CPU by one. */
const gpuEncodeBatch = 8;

export class ModelDevice {
  readonly device: Device;
  readonly dtype: DataType;
  readonly capacity: Capacity;
  readonly runtime: WhisperRuntime;
  readonly engine: WhisperEngine;
  readonly #parameters: Parameters;

  private constructor(
    device: Device,
    dtype: DataType,
    capacity: Capacity,
    parameters: Parameters,
    checkpoint: Checkpoint,
    words: WordHeads,
  ) {
    const { windows } = capacity;
    const encodeBatch = device.kind === 'cpu' ? 1 : Math.min(gpuEncodeBatch, 2 ** Math.floor(Math.log2(windows)));
    this.device = device;
    this.dtype = dtype;
    this.capacity = capacity;
    this.#parameters = parameters;
    this.runtime = new WhisperRuntime({ device, checkpoint, parameters, dtype, words, ...capacity, encodeBatch });
    this.engine = new Engine(this.runtime);
  }

  /** Loads the weights and takes all memory that serving needs. Throws OneheadError; the device is the caller's to close. */
  static async open(
    device: Device,
    checkpoint: Checkpoint,
    type: DataType | 'auto',
    wanted: Partial<Capacity>,
    words: WordHeads,
  ): Promise<ModelDevice> {
    const { config } = checkpoint;
    const dtype = type === 'auto' ? device.defaultDtype : type;
    const capacity = chooseCapacity(config, words, dtype, wanted, device);
    const parameters = await loadParameters(device, checkpoint, dtype);
    const opened = new ModelDevice(device, dtype, capacity, parameters, checkpoint, words);
    await opened.runtime.prepare();
    return opened;
  }

  /** Frees everything. What is under way is rejected. */
  dispose(): void {
    this.engine.close();
    this.device.close();
    this.runtime.dispose();
    for (const tensor of this.#parameters.all) tensor.dispose();
  }
}
