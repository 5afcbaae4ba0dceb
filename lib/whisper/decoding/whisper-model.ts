/** The model underneath transcription: features, encoder, logits and decoding on windows. */
import { checkSamples } from '../../audio/level.js';
import { checkSignal, refuse } from '../../checks.js';
import { Device } from '../../device/device.js';
import type { Program } from '../../device/program.js';
import { Tensor } from '../../device/tensor.js';
import { OneheadError } from '../../errors.js';
import { check } from '../../options/options.js';
import { type Checkpoint, readCheckpoint } from '../checkpoint/checkpoint.js';
import type { WhisperConfig } from '../checkpoint/config.js';
import { bundledModel, resolveModel } from '../checkpoint/hub.js';
import { likeliestLanguage } from '../checkpoint/languages.js';
import type { DecodeCall } from '../model/decoder.js';
import { recordEncoder } from '../model/encoder.js';
import { FeatureExtractor, type WindowFiller } from '../model/features.js';
import { loadParameters, type Parameters } from '../model/parameters.js';
import { type AttentionChoice, type DataType, type LoadOptions, loadOptions } from '../model/types.js';
import { type GenerateOptions, generateOptions } from './options.js';
import { checkTimestamps, languageAndTask } from './prompt.js';
import { checkLengths, checkTokens, resolveDecoding } from './resolve.js';
import { type Attempt, WindowDecoder, type WindowRequest, type WindowSettings } from './windows.js';

/** What `decode` gives for one window. */
export type Generation = Omit<Attempt, 'compressionRatio'>;

/** Throws OneheadError INVALID_ARGUMENT for heads that this model has not. */
function checkedHeads(given: readonly (readonly [number, number])[], { decoder }: WhisperConfig): [number, number][] {
  if (given.some(([layer, head]) => layer >= decoder.layers || head >= decoder.heads)) {
    const expected = `[layer, head] pairs with layers below ${decoder.layers} and heads below ${decoder.heads}`;
    refuse('alignmentHeads', expected, given);
  }
  return given.map(([layer, head]): [number, number] => [layer, head]);
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
  readonly #windows: WindowDecoder;
  /** Calls run one after another: they share the slots. */
  #queue: Promise<unknown> = Promise.resolve();
  readonly #disposal = new AbortController();

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
    const { config, preprocessor } = checkpoint;
    this.#extractor = new FeatureExtractor(device, preprocessor, batch);
    this.#encoded = device.tensor(dtype, [batch, config.sourcePositions, config.width]);
    this.#windows = new WindowDecoder(device, checkpoint, parameters, dtype, this.#encoded, attention);
    const { features } = this.#extractor;
    this.#encode = recordEncoder(device, config, parameters, dtype, features, this.#encoded, attention.encoder);
  }

  /**
   * Loads a folder, a hub name such as 'openai/whisper-tiny', or the bundled model when no name is given. Throws OneheadError:
   * MODEL_NOT_FOUND, MODEL_INVALID, DOWNLOAD_FAILED, DEVICE_UNAVAILABLE, NOT_SUPPORTED, OUT_OF_MEMORY.
   */
  static async load(nameOrDirectory?: string | null, options: LoadOptions | null = {}): Promise<WhisperModel> {
    const name: unknown = nameOrDirectory ?? undefined;
    if (name !== undefined && (typeof name !== 'string' || name === '')) {
      refuse('the model', 'a folder or a hub name, with options behind it (undefined for the bundled model)', name);
    }
    const { onDownload, signal } = check(loadOptions, options);
    signal?.throwIfAborted();
    const directory = name === undefined ? bundledModel() : await resolveModel(name, { onDownload, signal });
    return WhisperModel.open(await readCheckpoint(directory), options ?? {});
  }

  /** As `load`, of a checkpoint that was read or made up. @internal */
  static async open(
    checkpoint: Checkpoint,
    { attention = {}, ...options }: LoadOptions & { attention?: AttentionChoice } = {},
  ): Promise<WhisperModel> {
    const { device: kind, dtype, threads, signal, batch, alignmentHeads } = check(loadOptions, options);
    if (alignmentHeads) {
      checkpoint.generation.alignmentHeads = checkedHeads(alignmentHeads, checkpoint.config);
      checkpoint.generation.alignmentWarning = null;
    }
    const device = new Device(kind, { threads });
    try {
      const type = dtype === 'auto' ? device.defaultDtype : dtype;
      const parameters = await loadParameters(device, checkpoint, type);
      const model = new WhisperModel(checkpoint, device, type, parameters, batch, attention);
      await model.#windows.prepare();
      await model.#encode.prepare();
      signal?.throwIfAborted();
      return model;
    } catch (error) {
      device.close();
      throw error;
    }
  }

  /** Aborted with an error of code DISPOSED when the model is disposed. @internal */
  get disposal(): AbortSignal {
    return this.#disposal.signal;
  }

  /** Runs one call at a time. */
  async #exclusive<T>(work: () => Promise<T>): Promise<T> {
    this.disposal.throwIfAborted();
    const result = this.#queue.then(() => {
      this.disposal.throwIfAborted();
      return work();
    });
    this.#queue = result.catch(() => {});
    try {
      return await result;
    } catch (error) {
      // What a device or tensor says that was freed under the call is no use to whoever called.
      this.disposal.throwIfAborted();
      throw error;
    }
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
  async features(samples: Float32Array | readonly Float32Array[], signal?: AbortSignal | null): Promise<Tensor> {
    const windows = samples instanceof Float32Array ? [samples] : samples;
    if (!Array.isArray(windows) || !windows.every((one) => one instanceof Float32Array)) {
      refuse('samples', 'a Float32Array, or a list of one for each window', samples);
    }
    const ends = checkSignal(signal);
    return this.#exclusive(async () => {
      this.#checkBatch(windows.length, 'windows of samples');
      for (const window of windows) checkSamples(window);
      await this.#extractor.run(
        (into, slot) => this.#extractor.fillAlone(windows[slot] ?? new Float32Array(), into),
        Array.from({ length: this.batch }, () => Number.NEGATIVE_INFINITY),
        ends,
      );
      return this.#keep(this.#extractor.features, windows.length);
    });
  }

  /** The encoder's output for features [windows, mels, frames]: [windows, positions, width] in the model's dtype. */
  async encode(features: Tensor, signal?: AbortSignal | null): Promise<Tensor> {
    const ends = checkSignal(signal);
    return this.#exclusive(async () => {
      const count = await this.#take(features, this.#extractor.features, 'features');
      await this.#encode.run({ signal: ends });
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
      const all = await this.#windows.logits(rows);
      if (count === this.batch) return all;
      try {
        return await this.#keep(all, count);
      } finally {
        all.dispose();
      }
    });
  }

  /** Token ids of each window, without the prompt and the end token. */
  async generate(encoded: Tensor, options: GenerateOptions | null = {}): Promise<number[][]> {
    return (await this.decode(encoded, options)).map(({ tokens }) => tokens);
  }

  /** As `generate`, with probabilities. The temperature is 0 unless given; with a list of them, text that fails the thresholds falls back. */
  async decode(encoded: Tensor, options: GenerateOptions | null = {}): Promise<Generation[]> {
    const { generation } = this.checkpoint;
    const checked = check(generateOptions, options);
    const { minNewTokens, maxNewTokens, previous, prefix, signal } = checked;
    const settings: WindowSettings = {
      ...languageAndTask(checked, generation),
      timestamps: checkTimestamps(checked.timestamps, generation),
      minNewTokens,
      maxNewTokens,
      decoding: await resolveDecoding(checked, this.checkpoint, [0]),
    };
    checkLengths(settings, settings, this.checkpoint);
    checkTokens('previous', previous, this.checkpoint.config.vocabulary);
    checkTokens('prefix', prefix, this.checkpoint.config.vocabulary);
    if (settings.decoding.temperatures.length > 1) {
      const tokenizer = await this.checkpoint.tokenizer();
      settings.textOf = (tokens) => tokenizer.decode(tokens);
    }
    return this.#exclusive(async () => {
      const count = await this.#take(encoded, this.#encoded, 'encoded');
      const requests = Array.from({ length: count }, (_, seed) => ({ previous, prefix, seed }));
      const generations = await this.#windows.decode(requests, settings, { signal });
      return generations.map(({ compressionRatio, ...rest }) => rest);
    });
  }

  /**
   * One window a slot from samples to tokens, nothing of it leaving the device between. `fill` and `peaks` as FeatureExtractor.run takes them.
   * Gives the milliseconds of each stage too.
   * @internal
   */
  transcribeWindows(
    fill: WindowFiller,
    peaks: readonly number[],
    requests: readonly WindowRequest[],
    settings: WindowSettings,
    call: DecodeCall,
  ) {
    return this.#exclusive(async () => {
      this.#checkBatch(peaks.length, 'windows of samples');
      const { signal } = call;
      const started = performance.now();
      await this.#extractor.run(fill, this.#padded(peaks), signal);
      const featured = performance.now();
      await this.#encode.run({ signal });
      const encoded = performance.now();
      const generations = await this.#windows.decode(requests, settings, call);
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
  async detectLanguage(encoded: Tensor, signal?: AbortSignal | null): Promise<string[]> {
    const all = await this.languageProbabilities(encoded, signal);
    return all.map((probabilities) => likeliestLanguage(probabilities)[0]);
  }

  /** How probable each language is, by its code, for each window of encoder output. Throws OneheadError for an English-only model. */
  async languageProbabilities(encoded: Tensor, signal?: AbortSignal | null): Promise<Map<string, number>[]> {
    const ends = checkSignal(signal);
    return this.#exclusive(async () => {
      this.#checkMultilingual();
      const count = await this.#take(encoded, this.#encoded, 'encoded');
      return this.#windows.languages(count, ends);
    });
  }

  /** The same from samples, one window; as `transcribeWindows` takes them. @internal */
  windowLanguage(fill: (into: Float32Array) => void, peak: number, signal?: AbortSignal): Promise<Map<string, number>> {
    return this.#exclusive(async () => {
      this.#checkMultilingual();
      await this.#extractor.run(fill, this.#padded([peak]), signal);
      await this.#encode.run({ signal });
      return (await this.#windows.languages(1, signal))[0];
    });
  }

  #checkMultilingual(): void {
    if (this.checkpoint.generation.multilingual) return;
    throw new OneheadError('NOT_SUPPORTED', 'This model writes English only and cannot detect languages.');
  }

  /** The decode step's program, for measurements. @internal */
  get step(): Program {
    return this.#windows.step;
  }

  /** The encoder's program, for measurements. @internal */
  get encoder(): Program {
    return this.#encode;
  }

  /** Frees everything and ends the device's thread. Work under way is cancelled. */
  dispose(): void {
    if (this.disposal.aborted) return;
    this.#disposal.abort(new OneheadError('DISPOSED', 'This model has been disposed; load it again.'));
    this.device.close();
    this.#extractor.dispose();
    this.#encode.dispose();
    this.#windows.dispose();
    this.#encoded.dispose();
    for (const tensor of this.#parameters.all) tensor.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
