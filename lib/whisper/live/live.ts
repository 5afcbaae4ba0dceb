/** Live transcription: receives samples and emits events. */
import { checkSamples } from '../../audio/level.js';
import { Resampler } from '../../audio/resample.js';
import { refuse, requireMemory } from '../../checks.js';
import { OneheadError } from '../../errors.js';
import { check } from '../../options/options.js';
import { onAbort } from '../../signals.js';
import type { WhisperModel } from '../decoding/whisper-model.js';
import { EventQueue } from './events.js';
import { openTranscriber } from './open.js';
import { type LiveOptions, liveOptions } from './options.js';
import type { Transcriber } from './transcriber.js';
import type { LiveEvent } from './types.js';

interface Waiter {
  done(): boolean;
  resolve(): void;
  reject(error: unknown): void;
}

const closedError = () =>
  new OneheadError('INVALID_ARGUMENT', 'This live stream is closed; open another one with whisper.live().');

/**
 * A live stream, opened by `Whisper.live`. Samples are passed to `push`; one reader receives the events with
 * `for await (const event of live)`. Windows are decoded in the same batch as other requests, with priority. If the
 * device is slower than real time, it decodes more audio at once, less often; `lag` is the delay.
 */
export class LiveTranscription implements AsyncIterable<LiveEvent> {
  readonly #transcriber: Transcriber;
  readonly #queue: EventQueue;
  readonly #resampler: Resampler | null;
  readonly #end: () => Promise<void>;
  #waiters: Waiter[] = [];
  #closed = false;
  /** True if samples were pushed after the last `flush` and `clear`. */
  #unflushed = false;
  /** True if no work is left for the samples so far. */
  #idle = false;
  #ended: { error: unknown } | null = null;
  #wake: (() => void) | null = null;
  readonly #loop: Promise<void>;

  private constructor(
    transcriber: Transcriber,
    queue: EventQueue,
    resampler: Resampler | null,
    signal: AbortSignal,
    end: () => Promise<void>,
  ) {
    this.#transcriber = transcriber;
    this.#queue = queue;
    this.#resampler = resampler;
    this.#end = end;
    onAbort(signal, () => this.#wake?.());
    this.#loop = this.#run(signal);
  }

  /** @internal */
  static async open(model: WhisperModel, callerOptions: LiveOptions | null = {}): Promise<LiveTranscription> {
    const options = check(liveOptions, callerOptions);
    const { sampleRate } = model.checkpoint.preprocessor;
    // Aborted by the caller's signal, by disposal of the model, and when the reader stops.
    const stop = new AbortController();
    const sources = options.signal ? [options.signal, model.disposal] : [model.disposal];
    const forward = ({ target }: Event) => stop.abort((target as AbortSignal).reason);
    for (const source of sources) source.throwIfAborted();
    const removals = sources.map((source) => onAbort(source, forward));
    const removeListeners = () => {
      for (const remove of removals) remove();
    };
    const queue = new EventQueue();
    const emit = (event: LiveEvent) => queue.push(event);
    try {
      const { transcriber, end } = await openTranscriber(model, options, callerOptions ?? {}, stop.signal, emit);
      const rate = options.sampleRate ?? sampleRate;
      const resampler = rate === sampleRate ? null : new Resampler(rate, sampleRate);
      const live = new LiveTranscription(transcriber, queue, resampler, stop.signal, async () => {
        removeListeners();
        await end();
      });
      live.#stop = () => stop.abort(closedError());
      return live;
    } catch (error) {
      removeListeners();
      throw error;
    }
  }

  #stop: () => void = () => {};

  /** Seconds of audio that were pushed but not yet decoded. */
  get lag(): number {
    return this.#transcriber.lag;
  }

  /** Seconds of audio held in memory. @internal */
  get held(): number {
    return this.#transcriber.held;
  }

  /**
   * Adds mono samples at `sampleRate`, as floats from -1 to 1 or 16-bit integers. They are copied. Throws OneheadError
   * INVALID_ARGUMENT for other values and for a closed stream, and the error of a stream that has failed.
   */
  push(samples: Float32Array | Int16Array): void {
    if (!(samples instanceof Float32Array || samples instanceof Int16Array)) {
      refuse('samples', 'a Float32Array or an Int16Array', samples);
    }
    requireMemory('samples', samples);
    this.#checkOpen();
    let floats: Float32Array;
    if (samples instanceof Int16Array) floats = Float32Array.from(samples, (sample) => sample / 32_768);
    else {
      checkSamples(samples);
      floats = samples;
    }
    this.#unflushed ||= floats.length > 0;
    this.#transcriber.add(this.#resampler ? this.#resampler.push(floats) : floats);
    this.#wake?.();
  }

  /** Ends the current turn. Resolves when all events up to its end have been emitted. */
  async flush(): Promise<void> {
    this.#checkOpen();
    this.#unflushed = false;
    this.#transcriber.flush();
    await this.#until(() => this.#transcriber.flushed);
  }

  /** Resolves when all audio pushed so far has been processed. For audio that arrives faster than real time. */
  async drained(): Promise<void> {
    this.#checkOpen();
    this.#idle = false;
    await this.#until(() => this.#idle);
  }

  /** Discards the audio pushed after the last `flush`, and the current turn. Its confirmed text remains valid. */
  clear(): void {
    this.#checkOpen();
    this.#unflushed = false;
    this.#transcriber.clear();
    this.#wake?.();
  }

  /** Ends the stream after the samples so far. Resolves when all events have been emitted; the iteration then ends. */
  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      // What the resampler holds of flushed audio would be a turn of its own.
      if (this.#resampler && this.#unflushed) this.#transcriber.add(this.#resampler.finish());
      this.#transcriber.flush();
      this.#wake?.();
    }
    await this.#loop;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * Yields the events, for one reader. Stopping the iteration ends the stream. Throws the signal's reason, or the error
   * that ended the stream.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<LiveEvent, void> {
    let isComplete = false;
    try {
      yield* this.#queue.read();
      isComplete = true;
    } finally {
      if (!isComplete && !this.#ended) {
        this.#closed = true;
        this.#stop();
        await this.#loop;
      }
    }
  }

  #checkOpen(): void {
    if (this.#ended?.error) throw this.#ended.error;
    if (this.#closed) throw closedError();
  }

  #until(done: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#ended?.error) return reject(this.#ended.error);
      this.#waiters.push({ done, resolve, reject });
      this.#wake?.();
    });
  }

  /** Wakes the waiters whose condition has become true. */
  #wakeWaiters(): void {
    this.#waiters = this.#waiters.filter(({ done, resolve }) => {
      if (!done()) return true;
      resolve();
      return false;
    });
  }

  async #run(signal: AbortSignal): Promise<void> {
    let failure: unknown = null;
    try {
      // Starts after the constructor has returned.
      await Promise.resolve();
      for (;;) {
        signal.throwIfAborted();
        const sleep = new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#idle = true;
        const worked = await this.#transcriber.work();
        this.#idle &&= !worked;
        this.#wakeWaiters();
        if (worked) continue;
        if (this.#closed && this.#transcriber.flushed) break;
        await sleep;
      }
    } catch (error) {
      failure = error;
    }
    this.#wake = null;
    this.#closed = true;
    this.#ended = { error: failure };
    this.#queue.end(failure);
    for (const { resolve, reject } of this.#waiters.splice(0)) {
      if (failure) reject(failure);
      else resolve();
    }
    await this.#end();
  }
}
