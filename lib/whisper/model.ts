/** The model underneath transcription: features, encoder, logits and greedy decoding on windows. */
import { Device } from '../device/device.js';
import type { Program } from '../device/program.js';
import { Tensor } from '../device/tensor.js';
import { OneheadError } from '../errors.js';
import { type Checkpoint, readCheckpoint } from './checkpoint.js';
import { Decoder, type SlotResult } from './decoder.js';
import { recordEncoder } from './encoder.js';
import { FeatureExtractor, type WindowFiller } from './features.js';
import { bundledModel, resolveModel } from './hub.js';
import { loadParameters, type Parameters } from './parameters.js';
import { checkLanguage, checkTask, checkTimestamps, promptTokens } from './prompt.js';
import type { AttentionChoice, DataType, LoadOptions, Task, TimestampMode } from './types.js';

export interface GenerateOptions {
  /** Code or name; detected for each window when absent and the model is multilingual. */
  language?: string;
  task?: Task;
  timestamps?: TimestampMode;
  /** The end token is suppressed until this many tokens are written; the same as `maxNewTokens` forces a length. */
  minNewTokens?: number;
  /** By default what generation_config's max_length leaves after the prompt. */
  maxNewTokens?: number;
  signal?: AbortSignal;
}

/** What `decode` gives for one window. */
export interface Generation extends SlotResult {
  language: string | null;
  /** Mean log-probability of the tokens and the end token, as openai/whisper counts it. */
  averageLogProbability: number;
}

/** Throws OneheadError INVALID_ARGUMENT. */
function checkLoading(dtype = 'auto', batch = 1): void {
  if (!Number.isInteger(batch) || batch < 1) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `Expected batch to be a whole number of at least 1 but received ${batch}.`,
    );
  }
  const types = ['auto', 'float32', 'float16', 'bfloat16'];
  if (!types.includes(dtype)) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `Expected dtype to be 'auto', 'float32', 'float16' or 'bfloat16' but received '${dtype}'.`,
      { argument: 'dtype' },
    );
  }
}

export class WhisperModel {
  readonly checkpoint: Checkpoint;
  readonly device: Device;
  readonly dtype: DataType;
  /** Windows that are worked on at once. */
  readonly batch: number;
  readonly #parameters: Parameters;
  readonly #extractor: FeatureExtractor;
  readonly #encoded: Tensor;
  readonly #encode: Program;
  readonly #decoder: Decoder;
  /** Calls run one after another: they share the slots. */
  #queue: Promise<unknown> = Promise.resolve();
  #disposed = false;

  private constructor(
    checkpoint: Checkpoint,
    device: Device,
    dtype: DataType,
    parameters: Parameters,
    batch: number,
    attention: AttentionChoice,
  ) {
    this.checkpoint = checkpoint;
    this.device = device;
    this.dtype = dtype;
    this.batch = batch;
    this.#parameters = parameters;
    const { config, generation, preprocessor } = checkpoint;
    this.#extractor = new FeatureExtractor(device, preprocessor, batch);
    this.#encoded = device.tensor(dtype, [batch, config.sourcePositions, config.width]);
    this.#decoder = new Decoder(device, config, generation, parameters, dtype, this.#encoded, attention);
    const { features } = this.#extractor;
    this.#encode = recordEncoder(device, config, parameters, dtype, features, this.#encoded, attention.encoder);
  }

  /**
   * Loads a folder, a hub name such as 'openai/whisper-tiny', or the bundled model when no name is given. Throws OneheadError:
   * MODEL_NOT_FOUND, MODEL_INVALID, DOWNLOAD_FAILED, DEVICE_UNAVAILABLE, NOT_SUPPORTED, OUT_OF_MEMORY.
   */
  static async load(nameOrDirectory?: string, options: LoadOptions & { batch?: number } = {}): Promise<WhisperModel> {
    const { onDownload, signal } = options;
    checkLoading(options.dtype, options.batch);
    const directory =
      nameOrDirectory === undefined ? bundledModel() : await resolveModel(nameOrDirectory, { onDownload, signal });
    return WhisperModel.open(await readCheckpoint(directory), options);
  }

  /** As `load`, of a checkpoint that was read or made up. @internal */
  static async open(
    checkpoint: Checkpoint,
    {
      device: kind = 'auto',
      dtype = 'auto',
      threads,
      signal,
      batch = 1,
      attention = {},
    }: LoadOptions & { batch?: number; attention?: AttentionChoice } = {},
  ): Promise<WhisperModel> {
    checkLoading(dtype, batch);
    const device = new Device(kind, { threads });
    try {
      const type = dtype === 'auto' ? device.defaultDtype : dtype;
      const parameters = await loadParameters(device, checkpoint, type);
      const model = new WhisperModel(checkpoint, device, type, parameters, batch, attention);
      await model.#decoder.prepare();
      await model.#encode.prepare();
      signal?.throwIfAborted();
      return model;
    } catch (error) {
      device.close();
      throw error;
    }
  }

  /** Runs one call at a time. */
  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    if (this.#disposed) {
      return Promise.reject(new OneheadError('DISPOSED', 'This model has been disposed; load it again.'));
    }
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => {});
    return result;
  }

  #checkBatch(count: number, what: string): void {
    if (count < 1 || count > this.batch) {
      throw new OneheadError(
        'INVALID_SHAPE',
        `Expected 1 to ${this.batch} ${what} but received ${count}; load the model with a larger \`batch\`.`,
      );
    }
  }

  /** A copy of the first `count` items of a batch tensor, for the caller to keep. */
  async #keep(from: Tensor, count: number): Promise<Tensor> {
    const kept = this.device.tensor(from.dtype, [count, ...from.shape.slice(1)]);
    await this.device.copy(from, kept, { count: kept.size });
    return kept;
  }

  /** Copies a caller's tensor into the slots. */
  async #take(given: Tensor, to: Tensor, name: string): Promise<number> {
    const expected = [`1 to ${this.batch}`, ...to.shape.slice(1)].join(', ');
    const fits =
      given instanceof Tensor &&
      given.shape.length === to.shape.length &&
      to.shape.slice(1).every((size, i) => size === given.shape[i + 1]);
    if (!fits || given.shape[0] > this.batch) {
      const received = given instanceof Tensor ? `[${given.shape.join(', ')}]` : typeof given;
      throw new OneheadError('INVALID_SHAPE', `Expected ${name} to be [${expected}] but received ${received}.`, {
        argument: name,
        expected: `[${expected}]`,
        received,
      });
    }
    await this.device.copy(given, to);
    return given.shape[0];
  }

  /**
   * The log-mel features of one window, or of several: float32 [windows, mels, frames]. Samples are mono at the model's rate (16 kHz), from
   * -1 to 1; a window is padded with silence, and cut where it is too long.
   */
  features(samples: Float32Array | readonly Float32Array[], signal?: AbortSignal): Promise<Tensor> {
    const windows = samples instanceof Float32Array ? [samples] : samples;
    return this.#exclusive(async () => {
      this.#checkBatch(windows.length, 'windows of samples');
      await this.#extractor.run(
        (into, slot) => this.#extractor.fillAlone(windows[slot] ?? new Float32Array(), into),
        Array.from({ length: this.batch }, () => Number.NEGATIVE_INFINITY),
        signal,
      );
      return this.#keep(this.#extractor.features, windows.length);
    });
  }

  /** The encoder's output for features [windows, mels, frames]: [windows, positions, width] in the model's dtype. */
  encode(features: Tensor, signal?: AbortSignal): Promise<Tensor> {
    return this.#exclusive(async () => {
      const count = await this.#take(features, this.#extractor.features, 'features');
      await this.#encode.run({ signal });
      return this.#keep(this.#encoded, count);
    });
  }

  /** Logits of every position of given tokens (a row a window, all of one length): float32 [windows, length, vocabulary]. */
  logits(encoded: Tensor, tokens: readonly number[] | readonly (readonly number[])[]): Promise<Tensor> {
    const rows = (Array.isArray(tokens[0]) ? tokens : [tokens]) as readonly (readonly number[])[];
    return this.#exclusive(async () => {
      const { vocabulary, targetPositions } = this.checkpoint.config;
      const length = rows[0]?.length ?? 0;
      if (length < 1 || length > targetPositions || rows.some((row) => row.length !== length)) {
        throw new OneheadError(
          'INVALID_SHAPE',
          `Expected tokens to be rows of one length from 1 to ${targetPositions}, one for each window.`,
        );
      }
      if (!rows.flat().every((id) => Number.isInteger(id) && id >= 0 && id < vocabulary)) {
        throw new OneheadError('INVALID_ARGUMENT', `Expected tokens to be ids from 0 to ${vocabulary - 1}.`);
      }
      const count = await this.#take(encoded, this.#encoded, 'encoded');
      if (rows.length !== count) {
        throw new OneheadError(
          'INVALID_SHAPE',
          `Expected ${count} rows of tokens, one for each window, but received ${rows.length}.`,
        );
      }
      await this.#decoder.projectAudio();
      const all = await this.#decoder.logits(rows);
      if (count === this.batch) return all;
      try {
        return await this.#keep(all, count);
      } finally {
        all.dispose();
      }
    });
  }

  /** Greedy token ids of each window, without the prompt and the end token. */
  async generate(encoded: Tensor, options: GenerateOptions = {}): Promise<number[][]> {
    return (await this.decode(encoded, options)).map(({ tokens }) => tokens);
  }

  /** As `generate`, with probabilities. */
  decode(encoded: Tensor, options: GenerateOptions = {}): Promise<Generation[]> {
    return this.#exclusive(async () => {
      const count = await this.#take(encoded, this.#encoded, 'encoded');
      return this.#decodeSlots(count, options);
    });
  }

  /**
   * One window a slot from samples to tokens, nothing of it leaving the device between. `fill` and `peaks` as FeatureExtractor.run takes them.
   * Gives the milliseconds of each stage too.
   * @internal
   */
  transcribeWindows(fill: WindowFiller, peaks: readonly number[], options: GenerateOptions) {
    return this.#exclusive(async () => {
      this.#checkBatch(peaks.length, 'windows of samples');
      const started = performance.now();
      await this.#extractor.run(fill, this.#padded(peaks), options.signal);
      const featured = performance.now();
      await this.#encode.run({ signal: options.signal });
      const encoded = performance.now();
      const generations = await this.#decodeSlots(peaks.length, options);
      const decoded = performance.now();
      const timings = { features: featured - started, encode: encoded - featured, decode: decoded - encoded };
      return { generations, timings };
    });
  }

  /** The highest log10 power of one window, filled as FeatureExtractor.run wants it, and of what came before. @internal */
  measurePeak(fill: (into: Float32Array) => void, peak: number, signal?: AbortSignal): Promise<number> {
    return this.#exclusive(async () => (await this.#extractor.run(fill, this.#padded([peak]), signal))[0]);
  }

  /** Peaks for all slots: those without a window hear silence. */
  #padded(peaks: readonly number[]): number[] {
    return Array.from({ length: this.batch }, (_, slot) => peaks[slot] ?? Number.NEGATIVE_INFINITY);
  }

  /** The most probable language of each window of encoder output: its code. Throws OneheadError for an English-only model. */
  detectLanguage(encoded: Tensor, signal?: AbortSignal): Promise<string[]> {
    return this.#exclusive(async () => {
      if (!this.checkpoint.generation.multilingual) {
        throw new OneheadError('NOT_SUPPORTED', 'This model writes English only and cannot detect languages.');
      }
      const count = await this.#take(encoded, this.#encoded, 'encoded');
      await this.#decoder.projectAudio(signal);
      return this.#detect(count, signal);
    });
  }

  async #detect(count: number, signal?: AbortSignal): Promise<string[]> {
    const { generation, config } = this.checkpoint;
    const request = { prompt: [generation.startToken], minimum: 0, maximum: 0, timestamps: false, startIndex: 0 };
    const logits = await this.#decoder.firstLogits(
      Array.from({ length: count }, () => request),
      signal,
    );
    return Array.from({ length: count }, (_, slot) => {
      const row = logits.subarray(slot * config.vocabulary, (slot + 1) * config.vocabulary);
      let best = '';
      let highest = Number.NEGATIVE_INFINITY;
      for (const [language, id] of generation.languages) {
        if (row[id] > highest) {
          highest = row[id];
          best = language;
        }
      }
      return best;
    });
  }

  #newTokens(value: number | undefined, name: string, otherwise: number, most: number): number {
    const count = value ?? otherwise;
    if (!Number.isInteger(count) || count < 0 || count > most) {
      throw new OneheadError(
        'INVALID_ARGUMENT',
        `Expected ${name} to be a whole number from 0 to ${most} but received ${count}.`,
        { argument: name, expected: `0 to ${most}`, received: String(count) },
      );
    }
    return count;
  }

  async #decodeSlots(count: number, options: GenerateOptions): Promise<Generation[]> {
    const { generation, config } = this.checkpoint;
    const task = checkTask(options.task ?? 'transcribe', generation);
    const timestamps = checkTimestamps(options.timestamps ?? 'none', generation);
    const given = options.language === undefined ? null : checkLanguage(options.language, generation);
    await this.#decoder.projectAudio(options.signal);
    const detect = given === null && generation.multilingual && generation.languages.size > 0;
    const languages = detect
      ? await this.#detect(count, options.signal)
      : Array.from({ length: count }, () => given ?? (generation.multilingual ? null : 'en'));
    const requests = languages.map((language) => {
      const prompt = promptTokens(generation, { language, task, timestamps });
      const room = config.targetPositions - prompt.length;
      const maximum = this.#newTokens(
        options.maxNewTokens,
        'maxNewTokens',
        Math.max(1, generation.maxLength - prompt.length),
        room,
      );
      const minimum = this.#newTokens(options.minNewTokens, 'minNewTokens', 0, maximum);
      return { prompt, minimum, maximum, timestamps: timestamps === 'segment', startIndex: 0 };
    });
    const results = await this.#decoder.decode(requests, options.signal);
    return results.map((result, slot) => {
      const sum = result.logProbabilities.reduce((a, b) => a + b, 0);
      return { ...result, language: languages[slot], averageLogProbability: sum / (result.tokens.length + 1) };
    });
  }

  /** The decode step's program, for measurements. @internal */
  get step(): Program {
    return this.#decoder.step;
  }

  /** The encoder's program, for measurements. @internal */
  get encoder(): Program {
    return this.#encode;
  }

  /** Frees everything and ends the device's thread. Work under way is cancelled. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.device.close();
    this.#extractor.dispose();
    this.#encode.dispose();
    this.#decoder.dispose();
    this.#encoded.dispose();
    for (const tensor of this.#parameters.all) tensor.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
