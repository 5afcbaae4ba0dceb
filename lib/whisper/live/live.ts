/** Live transcription: takes samples and emits events. */

import { checkSamples } from '../../audio/level.js';
import { Resampler } from '../../audio/resample.js';
import { refuse } from '../../checks.js';
import { OneheadError } from '../../errors.js';
import { check } from '../../options/options.js';
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
 * A live stream of a model, opened by `Whisper.live`. Samples go in through `push`; one reader gets the events with
 * `for await (const event of live)`. Windows are decoded in the same batch as other requests, with priority. If the
 * device is slower than real time, audio that arrived meanwhile is decoded together; `lag` is the delay.
 */
export class LiveTranscription implements AsyncIterable<LiveEvent> {
  readonly #transcriber: Transcriber;
  readonly #queue: EventQueue;
  readonly #resampler: Resampler | null;
  readonly #end: () => Promise<void>;
  #waiters: Waiter[] = [];
  #closed = false;
  /** True if no work was left and no samples arrived since. */
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
    signal.addEventListener('abort', () => this.#wake?.(), { once: true });
    this.#loop = this.#run(signal);
  }

  /** @internal */
  static async open(model: WhisperModel, given: LiveOptions | null = {}): Promise<LiveTranscription> {
    const options = check(liveOptions, given);
    const { sampleRate } = model.checkpoint.preprocessor;
    // A reader that stops also ends the decoding.
    const stop = new AbortController();
    const sources = options.signal ? [options.signal, model.disposal] : [model.disposal];
    const forward = ({ target }: Event) => stop.abort((target as AbortSignal).reason);
    for (const source of sources) {
      source.throwIfAborted();
      source.addEventListener('abort', forward);
    }
    const forget = () => {
      for (const source of sources) source.removeEventListener('abort', forward);
    };
    const queue = new EventQueue();
    try {
      const { transcriber, end } = await openTranscriber(model, options, given ?? {}, stop.signal, (event) =>
        queue.push(event),
      );
      const rate = options.sampleRate ?? sampleRate;
      const resampler = rate === sampleRate ? null : new Resampler(rate, sampleRate);
      const live = new LiveTranscription(transcriber, queue, resampler, stop.signal, async () => {
        forget();
        await end();
      });
      live.#stop = () => stop.abort(closedError());
      return live;
    } catch (error) {
      forget();
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
   * Takes mono samples at `sampleRate`: floats from -1 to 1, or 16-bit integers. They are copied. Throws OneheadError
   * INVALID_ARGUMENT for other values, and if the stream is closed or has failed.
   */
  push(samples: Float32Array | Int16Array): void {
    if (!(samples instanceof Float32Array || samples instanceof Int16Array)) {
      refuse('samples', 'a Float32Array or an Int16Array', samples);
    }
    this.#checkOpen();
    let fractions: Float32Array;
    if (samples instanceof Int16Array) fractions = Float32Array.from(samples, (sample) => sample / 32_768);
    else {
      checkSamples(samples);
      fractions = samples;
    }
    this.#transcriber.add(this.#resampler ? this.#resampler.push(fractions) : fractions);
    this.#wake?.();
  }

  /** Ends the current turn; resolves when all earlier events were emitted. */
  async flush(): Promise<void> {
    this.#checkOpen();
    this.#transcriber.flush();
    await this.#until(() => this.#transcriber.flushed);
  }

  /** Resolves when all audio pushed so far has been processed; for audio that can wait, such as a file's. */
  async drained(): Promise<void> {
    this.#checkOpen();
    this.#idle = false;
    await this.#until(() => this.#idle);
  }

  /** Discards the audio pushed after the last `flush`, and the current turn. Its confirmed text remains valid. */
  clear(): void {
    this.#checkOpen();
    this.#transcriber.clear();
  }

  /** Takes no more samples; resolves when all events were emitted. The iteration then ends. */
  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      if (this.#resampler) this.#transcriber.add(this.#resampler.finish());
      this.#transcriber.flush();
      this.#wake?.();
    }
    await this.#loop;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * The events. Stopping the iteration ends the stream. Throws the signal's reason, or the error that ended the stream.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<LiveEvent, void> {
    let all = false;
    try {
      yield* this.#queue.read();
      all = true;
    } finally {
      if (!all && !this.#ended) {
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
      // Lets the opener start to read before anything happens.
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
