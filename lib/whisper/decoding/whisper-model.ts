/** A loaded model: its devices with their engines, and all operations other than transcription. */
import { setMaxListeners } from 'node:events';
import { checkSignal, refuse } from '../../checks.js';
import type { Device } from '../../device/device.js';
import type { Tensor } from '../../device/tensor.js';
import type { PoolFigures } from '../../engine/figures.js';
import { Pool } from '../../engine/pool.js';
import type { EngineRequest, RequestOptions } from '../../engine/request.js';
import { OneheadError } from '../../errors.js';
import { check } from '../../options/options.js';
import { onAbort } from '../../signals.js';
import { type Checkpoint, readCheckpoint } from '../checkpoint/checkpoint.js';
import { bundledModel, resolveModel } from '../checkpoint/hub.js';
import { likeliestLanguage } from '../checkpoint/languages.js';
import { deviceNames, openDevices } from '../model/devices.js';
import { fillPaddedWindow, windowSamples } from '../model/features.js';
import { type DataType, nameOf, type Precision } from '../model/precision.js';
import type { ModelWindow, Search, SearchResult } from '../model/search.js';
import { type LoadOptions, loadOptions } from '../model/types.js';
import { WindowBuffers } from '../model/window-buffers.js';
import { type WordTimes, wordHeads } from '../model/word-heads.js';
import { checkTensor } from './check-tensor.js';
import { checkedHeads, requestedCapacity, tokenRows, windowSamplesOf } from './model-arguments.js';
import { ModelDevice } from './model-device.js';
import { type GenerateOptions, generateOptions } from './options.js';
import { checkTimestamps, languageAndTask } from './prompt.js';
import { checkLengths, checkTokens, resolveDecoding } from './resolve.js';
import { encodedLanguages, windowLanguages } from './window-languages.js';
import {
  decodeWindow,
  type WindowOptions,
  type WindowResult,
  type WindowSettings,
  type WindowTimings,
} from './windows.js';

/** The most rows that a search of a window takes. */
const rowsOf = ({ temperatures, beamSize }: WindowSettings['decoding']): number =>
  temperatures.includes(0) ? beamSize : 1;

/** The result of `decode` for one window. */
export type Generation = Omit<WindowResult, 'compressionRatio'>;

export class WhisperModel {
  readonly checkpoint: Checkpoint;
  /** The method of word times. */
  readonly wordTimes: WordTimes;
  /** Buffers for the samples of windows, each with `windowSamples` samples. @internal */
  readonly buffers: WindowBuffers;
  readonly #members: readonly ModelDevice[];
  readonly #pool: Pool<ModelWindow, Search, SearchResult>;
  readonly #disposal = new AbortController();

  private constructor(
    checkpoint: Checkpoint,
    members: readonly ModelDevice[],
    maximumRequests: number,
    wordTimes: WordTimes,
  ) {
    // Each running call adds a listener.
    setMaxListeners(0, this.disposal);
    this.checkpoint = checkpoint;
    this.wordTimes = wordTimes;
    this.#members = members;
    const { preprocessor, config } = checkpoint;
    this.buffers = new WindowBuffers(windowSamples(preprocessor, config.sourcePositions), this.windows + 2);
    this.#pool = new Pool(
      members.map(({ engine }) => engine),
      { maximumRequests },
    );
  }

  /**
   * Loads a model from a folder, a file or the hub ('openai/whisper-tiny'), or the bundled model by default. Throws
   * OneheadError INVALID_ARGUMENT, MODEL_NOT_FOUND, MODEL_INVALID, DOWNLOAD_FAILED, DEVICE_UNAVAILABLE, NOT_SUPPORTED
   * or OUT_OF_MEMORY.
   */
  static async load(nameOrDirectory?: string | null, options: LoadOptions | null = {}): Promise<WhisperModel> {
    const name: unknown = nameOrDirectory ?? undefined;
    if (name !== undefined && (typeof name !== 'string' || name === '')) {
      refuse('the model', 'a folder or a hub name, followed by options (undefined for the bundled model)', name);
    }
    const checked = check(loadOptions, options);
    requestedCapacity(checked);
    const { onDownload, signal } = checked;
    signal?.throwIfAborted();
    const directory = name === undefined ? bundledModel() : await resolveModel(name, { onDownload, signal });
    return WhisperModel.open(await readCheckpoint(directory), options ?? {});
  }

  /** Like `load`, for a checkpoint that is already open. @internal */
  static async open(checkpoint: Checkpoint, options: LoadOptions = {}): Promise<WhisperModel> {
    const checked = check(loadOptions, options);
    const { dtype, precision, signal, wordTimes, alignmentHeads, maximumRequests } = checked;
    const capacity = requestedCapacity(checked);
    const { config, generation } = checkpoint;
    const heads = alignmentHeads && checkedHeads(alignmentHeads, config);
    const words = wordHeads(config, generation, wordTimes, heads);
    if (heads) generation.alignmentWarning = null;
    const devices = openDevices(deviceNames(checked.device), checked.threads);
    const members: ModelDevice[] = [];
    try {
      for (const device of devices) {
        members.push(await ModelDevice.open(device, checkpoint, { dtype, precision }, capacity, words));
        signal?.throwIfAborted();
      }
      return new WhisperModel(checkpoint, members, maximumRequests, wordTimes);
    } catch (error) {
      for (const member of members) member.dispose();
      for (const device of devices) device.close();
      throw error;
    }
  }

  /** The first device. Tensors that are passed to the model's methods must be on it. */
  get device(): Device {
    return this.#members[0].device;
  }

  /** The type of the decoder's weights; `precision` has all types. */
  get dtype(): DataType {
    return nameOf(this.precision);
  }

  /** The types of weights, activations and caches. */
  get precision(): Precision {
    return this.#members[0].precision;
  }

  /** Names (in the checkpoint) of the weights that are too sensitive for 8 bits. They are kept in 16 or 32 bits. */
  get sensitive(): readonly string[] {
    return this.#members[0].sensitive;
  }

  /** The number of windows whose cross-attention caches fit on all devices together. */
  get windows(): number {
    return this.#members.reduce((sum, { capacity }) => sum + capacity.windows, 0);
  }

  /** Another name for `windows`. */
  get batch(): number {
    return this.windows;
  }

  /** Aborts with OneheadError DISPOSED when the model is disposed of. @internal */
  get disposal(): AbortSignal {
    return this.#disposal.signal;
  }

  /** Current figures and totals of the engines. */
  figures(): PoolFigures {
    return this.#pool.figures();
  }

  /** Opens a request. The caller closes it. Throws OneheadError DISPOSED or BUSY. @internal */
  request(options: RequestOptions): EngineRequest {
    this.disposal.throwIfAborted();
    return this.#pool.request(options);
  }

  /** Counts the request as waiting while it waits for memory of audio; see `Pool.waitFor`. @internal */
  waitFor<T>(request: EngineRequest, work: (late: AbortSignal) => Promise<T>): Promise<T> {
    return this.#pool.waitFor(request, work);
  }

  /** Replaces the error of a closed device by that of a disposed model, which the caller can understand. */
  async #asModelErrors<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      const isDisposed = this.disposal.aborted && error instanceof OneheadError && error.code === 'DISPOSED';
      throw isDisposed ? this.disposal.reason : error;
    }
  }

  #member(): ModelDevice {
    const engine = this.#pool.leastLoaded();
    return this.#members.find((member) => member.engine === engine)!;
  }

  /** Throws OneheadError INVALID_ARGUMENT if a search takes more rows than there are. @internal */
  checkRows(decoding: WindowSettings['decoding']): void {
    this.#members[0].engine.checkRows(rowsOf(decoding));
  }

  /** Decodes one window (`windowSamples` samples) on the device with the least work. @internal */
  async decodeWindow(
    request: EngineRequest,
    window: ModelWindow,
    options: WindowOptions,
    settings: WindowSettings,
  ): Promise<{ attempt: WindowResult; timings: WindowTimings }> {
    this.checkRows(settings.decoding);
    const { engine } = this.#member();
    return this.#asModelErrors(decodeWindow(engine, request, this.checkpoint, window, options, settings));
  }

  /** The probability of each language in one window, by its code. @internal */
  async windowLanguages(
    request: EngineRequest,
    window: ModelWindow,
    options: Pick<WindowOptions, 'frames'> & Pick<WindowSettings, 'margin' | 'among'> = {},
  ): Promise<Map<string, number>> {
    this.#checkMultilingual();
    return this.#asModelErrors(encodedLanguages(this.#member().engine, request, this.checkpoint, window, options));
  }

  /** The highest log10 power of one window's samples, or `peak` if that is higher. @internal */
  measurePeak(samples: Float32Array, peak: number): Promise<number> {
    const { engine, runtime } = this.#member();
    return this.#asModelErrors(engine.exclusive(() => runtime.measurePeak(samples, peak)));
  }

  /** Runs a caller's job on the first device, between the decode steps of its transcriptions. */
  async #betweenSteps<T>(work: (member: ModelDevice) => Promise<T>): Promise<T> {
    this.disposal.throwIfAborted();
    const [first] = this.#members;
    return this.#asModelErrors(first.engine.exclusive(() => work(first)));
  }

  #checkEncoded(encoded: Tensor): number {
    const { sourcePositions, width } = this.checkpoint.config;
    return checkTensor(encoded, this.device, [sourcePositions, width], this.precision.encoder.values, 'encoded');
  }

  /**
   * Returns the log-mel features of one or more windows: float32 [windows, mels, frames]. Samples are mono at the
   * model's rate (16 kHz), from -1 to 1. Short windows are padded with silence, long ones are cut off. The caller
   * disposes of the tensor. Throws OneheadError INVALID_ARGUMENT, INVALID_SHAPE, OUT_OF_MEMORY or DISPOSED.
   */
  async features(samples: Float32Array | readonly Float32Array[], signal?: AbortSignal | null): Promise<Tensor> {
    const windows = windowSamplesOf(samples);
    const checkedSignal = checkSignal(signal);
    const { preprocessor } = this.checkpoint;
    return this.#betweenSteps(({ runtime }) =>
      this.buffers.use((buffer) => {
        const samplesOf = (index: number) => fillPaddedWindow(preprocessor, windows[index], buffer);
        return runtime.features(windows.length, samplesOf, checkedSignal);
      }),
    );
  }

  /**
   * Encodes features, float32 [windows, mels, frames]. Returns [windows, positions, width] in the type of
   * `precision.encoder.values`. The caller disposes of the tensor. Throws OneheadError INVALID_SHAPE, INVALID_DTYPE,
   * OUT_OF_MEMORY or DISPOSED.
   */
  async encode(features: Tensor, signal?: AbortSignal | null): Promise<Tensor> {
    const checkedSignal = checkSignal(signal);
    const { mels, sourcePositions } = this.checkpoint.config;
    checkTensor(features, this.device, [mels, 2 * sourcePositions], 'float32', 'features');
    return this.#betweenSteps(({ runtime }) => runtime.encodeFeatures(features, checkedSignal));
  }

  /** Runs `work` concurrently for all windows of encoder output. If it fails for one, the others are aborted. */
  async #each<T>(
    encoded: Tensor,
    signal: AbortSignal | undefined,
    work: (member: ModelDevice, request: EngineRequest, window: ModelWindow, index: number) => Promise<T>,
  ): Promise<T[]> {
    const count = this.#checkEncoded(encoded);
    signal?.throwIfAborted();
    const stop = new AbortController();
    const request = this.request({ signal: stop.signal });
    const abort = () => stop.abort(signal!.reason);
    const removeListener = signal && onAbort(signal, abort);
    // A separate view keeps the memory if the caller disposes of the tensor while its windows wait.
    const view = encoded.reshape(encoded.shape);
    try {
      const [first] = this.#members;
      const all = Array.from({ length: count }, async (_, index) => {
        try {
          return await work(first, request, { encoded: view, index }, index);
        } catch (error) {
          stop.abort(error);
          throw error;
        }
      });
      // The view is needed until the last of them has ended.
      await Promise.allSettled(all);
      return await this.#asModelErrors(stop.signal.aborted ? Promise.reject(stop.signal.reason) : Promise.all(all));
    } finally {
      removeListener?.();
      view.dispose();
      request.close();
    }
  }

  /**
   * Returns the logits of every position of `tokens`: float32 [windows, length, vocabulary]. There is one row of tokens
   * for each window, all of the same length. The caller disposes of the tensor. Throws OneheadError INVALID_SHAPE,
   * INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY or DISPOSED.
   */
  async logits(encoded: Tensor, tokens: readonly number[] | readonly (readonly number[])[]): Promise<Tensor> {
    const count = this.#checkEncoded(encoded);
    const rows = tokenRows(tokens, count, this.checkpoint.config);
    const { vocabulary } = this.checkpoint.config;
    const length = rows[0].length;
    this.disposal.throwIfAborted();
    const result = this.device.tensor('float32', [count, length, vocabulary]);
    try {
      await this.#each(encoded, undefined, async ({ engine, runtime }, request, window, index) => {
        const slot = await engine.encode(request, window);
        try {
          const output = result.part(index * length * vocabulary, [1, length, vocabulary]);
          await slot.withRows(1, (row, positions) => runtime.logits(row, positions, rows[index], output));
        } finally {
          slot.close();
        }
      });
      return result;
    } catch (error) {
      result.dispose();
      throw error;
    }
  }

  /** Decodes encoder output. Returns the token ids of each window, without the prompt and the end token. */
  async generate(encoded: Tensor, options: GenerateOptions | null = {}): Promise<number[][]> {
    return (await this.decode(encoded, options)).map(({ tokens }) => tokens);
  }

  /**
   * Decodes encoder output [windows, positions, width]. Returns tokens, probabilities and, if requested, times. The
   * default temperature is 0; with a list of temperatures, text that fails the thresholds is decoded again at the next.
   * Throws OneheadError INVALID_ARGUMENT, INVALID_SHAPE, INVALID_DTYPE, NOT_SUPPORTED or DISPOSED.
   */
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
    this.checkRows(settings.decoding);
    if (settings.decoding.temperatures.length > 1 || settings.decoding.words) {
      const tokenizer = await this.checkpoint.tokenizer();
      settings.textOf = (tokens) => tokenizer.decode(tokens);
      settings.tokenizer = tokenizer;
    }
    return this.#each(encoded, signal, async ({ engine }, request, window, seed) => {
      const windowOptions = { previous, prefix, seed };
      const { attempt } = await decodeWindow(engine, request, this.checkpoint, window, windowOptions, settings);
      const { compressionRatio, ...rest } = attempt;
      return rest;
    });
  }

  /**
   * Detects the language of each window of encoder output. Returns the codes. Throws OneheadError NOT_SUPPORTED for an
   * English-only model.
   */
  async detectLanguage(encoded: Tensor, signal?: AbortSignal | null): Promise<string[]> {
    const all = await this.languageProbabilities(encoded, signal);
    return all.map((probabilities) => likeliestLanguage(probabilities)[0]);
  }

  /**
   * Returns the probability of each language by its code, for each window of encoder output. Throws OneheadError
   * NOT_SUPPORTED for an English-only model.
   */
  async languageProbabilities(encoded: Tensor, signal?: AbortSignal | null): Promise<Map<string, number>[]> {
    const checkedSignal = checkSignal(signal);
    this.#checkMultilingual();
    return this.#each(encoded, checkedSignal, async ({ engine }, request, window) => {
      const slot = await engine.encode(request, window);
      try {
        return await windowLanguages(slot, this.checkpoint);
      } finally {
        slot.close();
      }
    });
  }

  #checkMultilingual(): void {
    if (this.checkpoint.generation.multilingual) return;
    throw new OneheadError('NOT_SUPPORTED', 'This model writes English only and cannot detect languages.');
  }

  /** Frees all memory and ends the devices' threads. Running calls are rejected with code DISPOSED. */
  dispose(): void {
    if (this.disposal.aborted) return;
    this.#disposal.abort(new OneheadError('DISPOSED', 'This model has been disposed; load it again.'));
    for (const member of this.#members) member.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
