/** The part of a recording that is in memory. */
import { freeArray } from '../../device/free-array.js';
import { OneheadError } from '../../errors.js';
import { giveArray, takeArray } from './sample-arrays.js';

/** Samples of a recording, addressed by their position. They are read on demand, and dropped after use. */
export class SampleWindow {
  readonly #chunks: AsyncIterator<Float32Array>;
  readonly #ownsChunks: boolean;
  #held = takeArray(1);
  /** The range of samples in memory. */
  #begin = 0;
  #end = 0;
  #ended = false;
  /** The error that ended reading, if any. The samples before it are transcribed first. */
  failure: OneheadError | null = null;

  /** Chunks are copied; `ownsChunks`: nobody else uses them, so they are freed. */
  constructor(chunks: AsyncIterable<Float32Array>, ownsChunks = false) {
    this.#chunks = chunks[Symbol.asyncIterator]();
    this.#ownsChunks = ownsChunks;
  }

  /** The number of samples read so far. */
  get end(): number {
    return this.#end;
  }

  /** True if all samples of the recording have been read. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Reads all samples before position `end`, or to the end of the recording. */
  async readTo(end: number): Promise<void> {
    while (!this.#ended && this.#end < end) {
      const { value, done } = await this.#next();
      if (done) {
        this.#ended = true;
        return;
      }
      const used = this.#end - this.#begin;
      if (used + value.length > this.#held.length) {
        const longer = takeArray(used + value.length);
        longer.set(this.#held.subarray(0, used));
        giveArray(this.#held);
        this.#held = longer;
      }
      this.#held.set(value, used);
      this.#end += value.length;
      if (this.#ownsChunks) freeArray(value);
    }
  }

  async #next(): Promise<IteratorResult<Float32Array>> {
    try {
      return await this.#chunks.next();
    } catch (error) {
      if (this.#end === 0 || !(error instanceof OneheadError) || error.code !== 'AUDIO_INVALID') throw error;
      this.failure = error;
      return { value: undefined, done: true };
    }
  }

  /** Frees the samples. Must be called when no read is pending. */
  release(): void {
    this.#ended = true;
    this.#begin = this.#end;
    if (this.#held.length > 0) giveArray(this.#held);
    this.#held = new Float32Array(0);
  }

  /** Returns the middle of the quietest `width` samples between `begin` and `end`, the best position for a cut. */
  quietest(begin: number, end: number, width: number): number {
    const held = this.#held.subarray(begin - this.#begin, end - this.#begin);
    let energy = 0;
    let minimum = Number.POSITIVE_INFINITY;
    let position = end;
    for (let i = 0; i < held.length; ++i) {
      energy += held[i] ** 2 - (i >= width ? held[i - width] ** 2 : 0);
      // The last of equally quiet positions gives the longest window.
      if (i + 1 >= width && energy <= minimum) {
        minimum = energy;
        position = begin + i + 1 - Math.floor(width / 2);
      }
    }
    return position;
  }

  /** Drops samples before `begin`, as soon as they are an eighth of those in memory. */
  drop(begin: number): void {
    const count = Math.min(begin, this.#end) - this.#begin;
    // Dropping moves all kept samples, so each is moved about seven times.
    if (count < (this.#end - this.#begin) / 8) return;
    this.#held.copyWithin(0, count, this.#end - this.#begin);
    this.#begin += count;
  }

  /**
   * Fills `into` with the samples from `begin` on. Positions before the recording are mirrored at its first sample, as
   * in openai/whisper; positions from `limit` on, and after its end, are zero. Returns the index in `into` at which
   * these zeros begin.
   */
  fill(into: Float32Array, begin: number, limit = this.#end): number {
    into.fill(0);
    const end = begin + into.length;
    const from = Math.max(begin, this.#begin);
    const to = Math.min(end, this.#end, limit);
    if (to > from) into.set(this.#held.subarray(from - this.#begin, to - this.#begin), from - begin);
    for (let position = begin; position < Math.min(0, end); ++position) {
      const mirrored = -position - this.#begin;
      if (mirrored >= 0 && -position < this.#end) into[position - begin] = this.#held[mirrored];
    }
    return Math.max(0, Math.min(0, end) - begin, to - begin);
  }
}
