/**
 * A Whisper model for measurements: decodes a batch of whole windows in lockstep, with any attention algorithm. Its
 * layers are recorded by the same functions as those of the transcribing model, but without the engine's scheduling.
 */
import { integerIn } from '../../checks.js';
import { Device } from '../../device/device.js';
import type { AttentionAlgorithm, Operations } from '../../device/operations.js';
import type { Program } from '../../device/program.js';
import type { Tensor } from '../../device/tensor.js';
import type { ElementType, FloatingType } from '../../element-types.js';
import type { KeyValueCache } from '../../layers/layers.js';
import type { CrossAttentionParameters } from '../../layers/parameters.js';
import type { Checkpoint } from '../../whisper/checkpoint/checkpoint.js';
import type { GenerationConfig } from '../../whisper/checkpoint/config.js';
import { promptTokens } from '../../whisper/decoding/prompt.js';
import { suppressionMask } from '../../whisper/decoding/suppression.js';
import {
  recordAudioKeyValues,
  recordCacheWrite,
  recordDecoder,
  recordLogits,
  tokenRules,
} from '../../whisper/model/decoder.js';
import { recordEncoder } from '../../whisper/model/encoder.js';
import { loadParameters, type Parameters } from '../../whisper/model/parameters.js';
import { type DataType, type Precision, uniformPrecision } from '../../whisper/model/precision.js';
import { keyValueCache } from '../../whisper/model/programs.js';
import { ForcedTokens, type ForcedTokensResult } from './forced-tokens.js';

/** Attention algorithms; by default they are chosen by shape. */
export interface AttentionChoice {
  encoder?: AttentionAlgorithm;
  /** Of the decoder's self-attention. */
  self?: AttentionAlgorithm;
  /** Of the decoder's cross-attention. */
  cross?: AttentionAlgorithm;
  /**
   * The source of the audio's keys and values in a decode step: the cache, a copy of it made in each step, or a new
   * projection in each step.
   */
  crossKeyValues?: 'cached' | 'copied' | 'recomputed';
}

export interface MeasuredOptions {
  device: string;
  dtype: DataType;
  /** Instead of the default types for `dtype`. */
  precision?: Precision;
  threads?: number;
  /** The number of windows. */
  batch: number;
  attention?: AttentionChoice;
  signal?: AbortSignal;
}

interface Parts {
  checkpoint: Checkpoint;
  device: Device;
  precision: Precision;
  batch: number;
  attention: AttentionChoice;
  parameters: Parameters;
  suppressed: Uint8Array;
  /** Everything that must be disposed of with the model. */
  owned: { dispose(): void }[];
}

/** The prompt for English without timestamps; without a language if the model has none. */
export function defaultPrompt(generation: GenerationConfig): number[] {
  const language = generation.languages.has('en') ? 'en' : null;
  return promptTokens(generation, { language, task: 'transcribe', timestamps: 'none' });
}

export class MeasuredWhisper {
  readonly checkpoint: Checkpoint;
  readonly device: Device;
  /** The type of the encoder output. */
  readonly dtype: FloatingType;
  readonly precision: Precision;
  /** The prompt of every window. */
  readonly prompt: readonly number[];
  /** Computes the encoder output of the batch from its features. */
  readonly encoder: Program;
  /** A greedy decode step. A sequence that has ended keeps its position, and its steps do the same work. */
  readonly step: Program;
  readonly #parts: Parts;
  readonly #features: Tensor;
  readonly #encoded: Tensor;
  readonly #sequences: ForcedTokens;
  /** int32 [batch]: the first row of each window in a cache that is reshaped to one sequence. */
  readonly #begins: Tensor;
  readonly #self: readonly KeyValueCache[];
  readonly #cross: readonly KeyValueCache[];
  /** Fills the cross-attention cache; null if no step reads it. */
  readonly #project: Program | null;
  /** Processes the prompt except its last token, which the first step processes. */
  readonly #prefill: Program;

  private constructor(parts: Parts) {
    const { checkpoint, device, precision, batch, attention, parameters, suppressed, owned } = parts;
    const { encoder, decoder: types } = precision;
    const { config, generation } = checkpoint;
    const { decoder, sourcePositions, targetPositions, width, mels } = config;
    this.checkpoint = checkpoint;
    this.device = device;
    this.dtype = encoder.values;
    this.precision = precision;
    this.#parts = parts;
    const track = <T extends { dispose(): void }>(resource: T): T => {
      owned.push(resource);
      return resource;
    };
    this.prompt = defaultPrompt(generation);
    this.#features = track(device.tensor('float32', [batch, mels, 2 * sourcePositions]));
    this.#encoded = track(device.tensor(encoder.values, [batch, sourcePositions, width]));
    this.#sequences = track(new ForcedTokens(device, batch, targetPositions, suppressed));
    const caches = (positions: number, heads: number): KeyValueCache[] => {
      const tensor = (type: ElementType, shape: number[]) => track(device.tensor(type, shape));
      const make = () => keyValueCache(tensor, precision, [batch, positions, heads], width / decoder.heads);
      return Array.from({ length: decoder.layers }, make);
    };
    const begins = Int32Array.from({ length: batch }, (_, window) => window * sourcePositions);
    this.#begins = track(device.tensor('int32', [batch], begins));
    this.#self = caches(targetPositions, decoder.keyValueHeads);
    this.#cross = caches(sourcePositions, decoder.crossKeyValueHeads);

    const { state, zero } = this.#sequences;
    const record = (name: string, body: (ops: Operations) => void) => track(device.record(name, body));
    this.encoder = record('encode', (ops) => {
      const options = { algorithm: attention.encoder, output: this.#encoded };
      recordEncoder(ops, config, parameters, encoder, this.#features, options);
    });
    this.#project =
      attention.crossKeyValues === 'recomputed'
        ? null
        : record('cross-cache', (ops) => {
            parameters.decoder.layers.forEach(({ cross }, layer) => {
              ops.scope(`decoder.${layer}/cross`, () => {
                this.#recordProjection(ops, cross, this.#cross[layer]);
              });
            });
          });
    this.#prefill = record('prefill', (ops) => {
      const x = this.#layers(ops, zero, Math.max(1, this.prompt.length - 1));
      // Transcription computes these logits too, for the no-speech probability.
      recordLogits(ops, parameters, ops.gatherRows(x, zero.reshape([1, batch])), { types });
    });
    this.step = record('step', (ops) => {
      this.#sequences.next(
        ops,
        recordLogits(ops, parameters, this.#layers(ops, state.position, 1), { types }),
        tokenRules(generation),
      );
    });
  }

  /**
   * Loads the weights and prepares all programs. Throws OneheadError DEVICE_UNAVAILABLE, NOT_SUPPORTED, OUT_OF_MEMORY,
   * MODEL_INVALID; rejects with the signal's reason.
   */
  static async open(checkpoint: Checkpoint, options: MeasuredOptions): Promise<MeasuredWhisper> {
    const {
      device: kind,
      dtype,
      threads,
      batch,
      attention = {},
      signal,
      precision = uniformPrecision(dtype),
    } = options;
    const { generation, config, tokenizer } = checkpoint;
    const suppressed = await suppressionMask(generation, config.vocabulary, ['default'], true, tokenizer);
    const device = new Device(kind, { threads });
    const owned: Parts['owned'] = [];
    try {
      const parameters = await loadParameters(device, checkpoint, precision);
      owned.push(...parameters.all);
      const parts = { checkpoint, device, precision, batch, attention, parameters, suppressed, owned };
      const model = new MeasuredWhisper(parts);
      // The step comes first: it needs the weights in row order, and the other programs then use that layout too.
      for (const program of [model.step, model.#prefill, model.#project, model.encoder]) await program?.prepare();
      signal?.throwIfAborted();
      return model;
    } catch (error) {
      device.close();
      for (const one of owned) one.dispose();
      throw error;
    }
  }

  #layers(ops: Operations, start: Tensor, count: number): Tensor {
    const { checkpoint, parameters, attention, precision } = this.#parts;
    return recordDecoder(ops, checkpoint.config, parameters, {
      tokens: this.#sequences.state.tokens,
      start,
      count,
      self: this.#self,
      cross: (_, layer) => this.#audio(ops, layer),
      types: precision.decoder,
      algorithms: { self: attention.self, cross: attention.cross },
    });
  }

  /** Records the projection of the audio's keys and values into a cache, which may have another type. */
  #recordProjection(ops: Operations, cross: CrossAttentionParameters, cache: KeyValueCache): void {
    const { encoder: types } = this.#parts.precision;
    if (!cache.scales && cache.key.dtype === types.values) {
      recordAudioKeyValues(ops, cross, this.#encoded, { output: cache, types });
      return;
    }
    const flat = (tensor: Tensor) => tensor.reshape([1, tensor.shape[0] * tensor.shape[1], tensor.shape[2]]);
    const { key, value, scales } = cache;
    const rows = {
      key: flat(key),
      value: flat(value),
      ...(scales && { scales: { key: flat(scales.key), value: flat(scales.value) } }),
    };
    recordCacheWrite(ops, recordAudioKeyValues(ops, cross, this.#encoded, { types }), rows, this.#begins);
  }

  /** The keys and values that this layer's cross-attention reads. */
  #audio(ops: Operations, layer: number): KeyValueCache {
    const { attention, parameters } = this.#parts;
    const cache = this.#cross[layer];
    switch (attention.crossKeyValues) {
      case 'copied':
        return { ...cache, key: ops.copy(cache.key), value: ops.copy(cache.value) };
      case 'recomputed': {
        const { encoder: types } = this.#parts.precision;
        return recordAudioKeyValues(ops, parameters.decoder.layers[layer].cross, this.#encoded, { types });
      }
      default:
        return cache;
    }
  }

  /**
   * Encodes float32 [batch, mels, frames]. Returns a new tensor [batch, positions, width] of type `dtype`, which the
   * caller disposes of. One call at a time.
   */
  async encode(features: Tensor, signal?: AbortSignal): Promise<Tensor> {
    await Promise.all([this.device.copy(features, this.#features), this.encoder.run({ signal })]);
    const encoded = this.device.tensor(this.dtype, this.#encoded.shape);
    await this.device.copy(this.#encoded, encoded);
    return encoded;
  }

  /**
   * Decodes exactly `tokens` tokens of each window after the prompt. `encoded` is a result of `encode`. One call at a
   * time. Throws OneheadError INVALID_ARGUMENT.
   */
  async generate(encoded: Tensor, tokens: number, signal?: AbortSignal): Promise<ForcedTokensResult[]> {
    const { batch, capacity } = this.#sequences;
    const { length } = this.prompt;
    integerIn('tokens', tokens, 1, capacity - length);
    await Promise.all([
      this.device.copy(encoded, this.#encoded),
      this.#project?.run({ signal }),
      this.#sequences.write(Array(batch).fill(this.prompt), tokens),
      this.#prefill.run({ signal }),
      this.step.run({ times: tokens, signal }),
    ]);
    return this.#sequences.read(length, tokens);
  }

  /** Cancels running work, closes the device and frees all memory. */
  dispose(): void {
    this.device.close();
    for (const one of this.#parts.owned) one.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
