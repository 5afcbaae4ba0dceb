/** Text while it is spoken: an object that takes samples and gives events. */

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
  new OneheadError('INVALID_ARGUMENT', 'This live stream has been closed; open another one with whisper.live().');

/**
 * A live stream of a model, as `Whisper.live` opens it. Samples go in by `push`; text comes out of
 * `for await (const event of live)`, which may be read by one reader. Windows are decoded in the same batch as all
 * other requests, before them. Where the device is slower than the audio, what came meanwhile is decoded together, and
 * `lag` tells how far behind it is.
 */
export class LiveTranscription implements AsyncIterable<LiveEvent> {
  readonly #transcriber: Transcriber;
  readonly #queue: EventQueue;
  readonly #resampler: Resampler | null;
  readonly #end: () => Promise<void>;
  #waiters: Waiter[] = [];
  #closed = false;
  /** Nothing was left to be done, and nobody came since. */
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
    // The reader who stops ends the work, too.
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

  /** Seconds of audio that were pushed and not heard yet. */
  get lag(): number {
    return this.#transcriber.lag;
  }

  /** Seconds of audio that are held, since they may still be wanted. @internal */
  get held(): number {
    return this.#transcriber.held;
  }

  /**
   * Takes mono samples at the rate that was stated: fractions from -1 to 1, or whole numbers of 16 bits. They are
   * copied. Throws OneheadError INVALID_ARGUMENT for other things, and when the stream was closed or has failed.
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

  /** Ends the turn under way, and resolves when all that was pushed before has been told. */
  async flush(): Promise<void> {
    this.#checkOpen();
    this.#transcriber.flush();
    await this.#until(() => this.#transcriber.flushed);
  }

  /**
   * Resolves when nothing is left to be done with what was pushed so far: for audio that can wait, such as a file's.
   */
  async drained(): Promise<void> {
    this.#checkOpen();
    this.#idle = false;
    await this.#until(() => this.#idle);
  }

  /**
   * Forgets what was pushed behind the last `flush`, and the turn that is under way there; what was confirmed of it
   * stays told.
   */
  clear(): void {
    this.#checkOpen();
    this.#transcriber.clear();
  }

  /** Takes no more samples; resolves when all has been told. The events end behind the last. */
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
   * The events. Who stops reading ends the stream: nothing more is decoded. Throws the signal's reason, or why the
   * stream could not go on.
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

  /** Wakes those who wait for what has come true. */
  #tell(): void {
    this.#waiters = this.#waiters.filter(({ done, resolve }) => {
      if (!done()) return true;
      resolve();
      return false;
    });
  }

  async #run(signal: AbortSignal): Promise<void> {
    let failure: unknown = null;
    try {
      // Whoever opened the stream begins to read it before anything happens.
      await Promise.resolve();
      for (;;) {
        signal.throwIfAborted();
        const sleep = new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#idle = true;
        const worked = await this.#transcriber.work();
        this.#idle &&= !worked;
        this.#tell();
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
