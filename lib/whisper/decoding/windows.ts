/** Decoding of the windows whose encoder output is in the slots: language, prompt, search and fallback. */

import type { Device } from '../../device/device.js';
import type { Program } from '../../device/program.js';
import type { Tensor } from '../../device/tensor.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { likeliestLanguage } from '../checkpoint/languages.js';
import { CrossCache } from '../model/cross-cache.js';
import { type DecodeCall, Decoder } from '../model/decoder.js';
import type { Parameters } from '../model/parameters.js';
import type { AttentionChoice, DataType } from '../model/types.js';
import { decodeWithFallback, type Attempt as WindowAttempt } from './fallback.js';
import { type Task, type TimestampMode, windowPrompt } from './prompt.js';
import type { Decoding } from './resolve.js';

/** A window's text, how it was found, and its language. */
export interface Attempt extends WindowAttempt {
  language: string | null;
}

/** What is the same for all windows that are decoded together. */
export interface WindowSettings {
  /** A code, or null: detected for each window. */
  language: string | null;
  task: Task;
  timestamps: TimestampMode;
  minNewTokens?: number;
  maxNewTokens?: number;
  decoding: Decoding;
  /** For the compression ratio; without it no text counts as repetitive. */
  textOf?: (tokens: readonly number[]) => string;
}

/** What is a window's own. */
export interface WindowRequest {
  previous?: readonly number[];
  prefix?: readonly number[];
  seed?: number;
  /** Audio positions with sound; all unless given. */
  frames?: number;
}

export class WindowDecoder {
  readonly #device: Device;
  readonly #checkpoint: Checkpoint;
  readonly #parameters: Parameters;
  readonly #dtype: DataType;
  readonly #attention: AttentionChoice;
  readonly #cross: CrossCache;
  /** By the sequences of each window; made when first needed, since each has caches of its own. */
  readonly #decoders = new Map<number, Decoder>();

  /** `encoded` [windows, positions, width] in `dtype` is what all windows are decoded from. */
  constructor(
    device: Device,
    checkpoint: Checkpoint,
    parameters: Parameters,
    dtype: DataType,
    encoded: Tensor,
    attention: AttentionChoice,
  ) {
    this.#device = device;
    this.#checkpoint = checkpoint;
    this.#parameters = parameters;
    this.#dtype = dtype;
    this.#attention = attention;
    this.#cross = new CrossCache(device, checkpoint.config, parameters, dtype, encoded, attention.crossKeyValues);
  }

  /** Lays out the weights for the usual programs, so that the first window is not slower than the next. */
  async prepare(): Promise<void> {
    await this.#decoder().prepare();
    await this.#cross.prepare();
  }

  #decoder(group = 1): Decoder {
    let decoder = this.#decoders.get(group);
    if (!decoder) {
      const { config, generation } = this.#checkpoint;
      const [device, parameters, dtype] = [this.#device, this.#parameters, this.#dtype];
      const parts = { device, config, generation, parameters, dtype, cross: this.#cross, attention: this.#attention };
      decoder = new Decoder(parts, group);
      this.#decoders.set(group, decoder);
    }
    return decoder;
  }

  /** Logits of every position of given tokens, a row a window: float32 [windows, length, vocabulary]. */
  async logits(tokens: readonly (readonly number[])[]): Promise<Tensor> {
    await this.#cross.project();
    return this.#decoder().logits(tokens);
  }

  /** How probable each language is, by its code, for each of the first `count` windows. */
  async languages(count: number, signal?: AbortSignal): Promise<Map<string, number>[]> {
    await this.#cross.project(signal);
    return this.#languages(count, signal);
  }

  async #languages(count: number, signal?: AbortSignal): Promise<Map<string, number>[]> {
    const { generation, config } = this.#checkpoint;
    const logits = await this.#decoder().startLogits(generation.startToken, signal);
    return Array.from({ length: count }, (_, slot) => {
      const scores = Array.from(generation.languages, ([code, id]): [string, number] => [
        code,
        logits[slot * config.vocabulary + id],
      ]);
      const highest = Math.max(...scores.map(([, score]) => score));
      const total = scores.reduce((sum, [, score]) => sum + Math.exp(score - highest), 0);
      return new Map(scores.map(([code, score]) => [code, Math.exp(score - highest) / total]));
    });
  }

  /** Decodes the windows whose encoder output is in the slots. */
  async decode(windows: readonly WindowRequest[], settings: WindowSettings, call: DecodeCall): Promise<Attempt[]> {
    const { generation, config } = this.#checkpoint;
    const { task, timestamps, decoding } = settings;
    await this.#cross.project(call.signal);
    const detect = settings.language === null && generation.multilingual && generation.languages.size > 0;
    const languages = detect
      ? (await this.#languages(windows.length, call.signal)).map((all) => likeliestLanguage(all)[0])
      : windows.map(() => settings.language ?? (generation.multilingual ? null : 'en'));
    const requests = windows.map((window, index) => {
      const options = { language: languages[index], task, timestamps };
      const begin = windowPrompt(generation, config.targetPositions, options, window, settings);
      const room = config.targetPositions - begin.prompt.length - begin.prefix.length;
      // What max_length counts besides the text is the prompt proper, not the text before it.
      const usual = generation.maxLength - (begin.prompt.length - begin.startIndex) - begin.prefix.length;
      const maximum = Math.min(settings.maxNewTokens ?? Math.max(1, usual), room);
      const minimum = Math.min(settings.minNewTokens ?? 0, maximum);
      return {
        ...begin,
        minimum,
        maximum,
        timestamps: timestamps === 'segment',
        seed: window.seed,
        frames: window.frames,
      };
    });
    const textOf = settings.textOf ?? (() => '');
    const attempts = await decodeWithFallback((group) => this.#decoder(group), requests, decoding, textOf, call);
    return attempts.map((attempt, index) => ({ ...attempt, language: languages[index] }));
  }

  /** The step of greedy decoding, for measurements. */
  get step(): Program {
    return this.#decoder().step();
  }

  dispose(): void {
    for (const decoder of this.#decoders.values()) decoder.dispose();
    this.#cross.dispose();
  }
}
