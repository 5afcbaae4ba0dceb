/** Reproducible random weights of any size, made by repeating one block; speed does not depend on their values. */
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Device, WeightsFile } from '../../device/device.js';
import type { Tensor } from '../../device/tensor.js';
import type { FloatingType } from '../../element-types.js';
import type { Checkpoint } from '../../whisper/checkpoint/checkpoint.js';
import { type GenerationConfig, parsePreprocessorConfig, type WhisperConfig } from '../../whisper/checkpoint/config.js';
import type { TensorIndex } from '../../whisper/checkpoint/safetensors.js';
import { checkpointTensors } from '../../whisper/checkpoint/weights.js';
import { type MeasuredOptions, MeasuredWhisper } from './measured-whisper.js';

const blockElements = 1 << 20;
/** The number of ones at the beginning of the file, for the weights of norms; at least the width of any model. */
const ones = 1 << 16;
const seed = 1;

const elementsOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** `count` uniform numbers between -0.035 and 0.035. */
export function randomNumbers(count: number, state = seed): Float32Array {
  let bits = state;
  return Float32Array.from({ length: count }, () => {
    bits = (Math.imul(bits, 1664525) + 1013904223) >>> 0;
    return (bits / 2 ** 32 - 0.5) * 0.07;
  });
}

/** Truncates to bfloat16, which is the high half of a float32. */
export function bfloat16Bytes(values: Float32Array): Uint8Array {
  const words = new Uint16Array(values.buffer);
  return new Uint8Array(Uint16Array.from({ length: values.length }, (_, i) => words[2 * i + 1]).buffer);
}

/** A temporary file of bfloat16 numbers, to load weights from. Dispose of it when all weights are loaded. */
export class RandomWeights {
  readonly #folder: string;
  readonly #elements: number;
  readonly path: string;

  private constructor(folder: string, elements: number) {
    this.#folder = folder;
    this.#elements = elements;
    this.path = join(folder, 'weights');
  }

  /** @param largest The number of elements of the largest tensor. */
  static async create(largest: number): Promise<RandomWeights> {
    const weights = new RandomWeights(await mkdtemp(join(tmpdir(), 'onehead-weights-')), largest + blockElements);
    try {
      const file = await open(weights.path, 'w');
      try {
        await file.write(bfloat16Bytes(new Float32Array(ones).fill(1)));
        const block = bfloat16Bytes(randomNumbers(blockElements));
        for (let written = 0; written < weights.#elements; written += blockElements) await file.write(block);
      } finally {
        await file.close();
      }
      return weights;
    } catch (error) {
      await weights.dispose();
      throw error;
    }
  }

  /** The byte offset of a tensor by its number, so that tensors have different values. */
  offset(number: number): number {
    return 2 * (ones + ((number * 100_003 * 32) % blockElements));
  }

  /** The byte offset of the ones. */
  get onesOffset(): number {
    return 0;
  }

  async load(device: Device, dtype: FloatingType, shape: number[], { norm = false, number = 0 } = {}): Promise<Tensor> {
    using file = new WeightsFile(this.path);
    const offset = norm ? this.onesOffset : this.offset(number);
    return await device.load(dtype, shape, [{ file, offset, dtype: 'bfloat16', elements: elementsOf(shape) }]);
  }

  /** Deletes the file. Tensors loaded from it remain valid. */
  dispose(): Promise<void> {
    return rm(this.#folder, { recursive: true, force: true });
  }
}

/** Special tokens at consecutive ids after the start token; decoding a fixed number of tokens needs no more. */
export function generationConfig(config: WhisperConfig): GenerationConfig {
  const { startToken, endToken, vocabulary, targetPositions, decoder } = config;
  return {
    startToken,
    endToken,
    noTimestampsToken: startToken + 3,
    timestampBegin: vocabulary,
    timestampEnd: vocabulary,
    noSpeechToken: null,
    previousToken: null,
    multilingual: true,
    languages: new Map([['en', startToken + 1]]),
    tasks: new Map([['transcribe', startToken + 2]]),
    suppressTokens: [],
    beginSuppressTokens: [],
    forcedDecoderIds: [],
    defaults: { language: null, task: null },
    forced: { language: null, task: null },
    maxInitialTimestamp: null,
    maxLength: targetPositions,
    alignmentHeads: [[decoder.layers - 1, 0]],
    alignmentWarning: null,
  };
}

/** Opens a Whisper model of this shape with random weights. */
export async function randomModel(config: WhisperConfig, options: MeasuredOptions): Promise<MeasuredWhisper> {
  const specifications = checkpointTensors(config);
  const weights = await RandomWeights.create(Math.max(...specifications.map(({ shape }) => elementsOf(shape))));
  try {
    const tensors: TensorIndex = new Map(
      specifications.map(({ name, shape }, number) => {
        const offset = /norm\.weight$/.test(name) ? weights.onesOffset : weights.offset(number);
        return [name, { file: weights.path, offset, bytes: 2 * elementsOf(shape), dtype: 'bfloat16', shape }];
      }),
    );
    const checkpoint: Checkpoint = {
      directory: weights.path,
      format: 'safetensors',
      config,
      generation: generationConfig(config),
      preprocessor: parsePreprocessorConfig(null, 'preprocessor_config.json', config),
      tensors,
      tokenizer: () => Promise.reject(new Error('Random weights have no tokenizer.')),
    };
    return await MeasuredWhisper.open(checkpoint, options);
  } finally {
    await weights.dispose();
  }
}
