/** The part of a long recording that is held in memory: read when it is needed, dropped when it is done. */
import { OneheadError } from '../../errors.js';
import { giveArray, takeArray } from './sample-arrays.js';

/** Samples, addressed by their index in the whole recording. Only a bounded range is held. */
export class SampleWindow {
  readonly #chunks: AsyncIterator<Float32Array>;
  #held = takeArray(1);
  /** The range of held samples. */
  #begin = 0;
  #end = 0;
  #ended = false;
  /** The error that ended reading, if one did. What was read before is transcribed first. */
  failure: OneheadError | null = null;

  constructor(chunks: AsyncIterable<Float32Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** Samples read so far. */
  get end(): number {
    return this.#end;
  }

  /** True when the recording has no more samples than were read. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Reads until the sample before `end` is held, or the recording ends. */
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

  /** Frees the samples. To be called when nothing is read any more. */
  release(): void {
    this.#ended = true;
    this.#begin = this.#end;
    if (this.#held.length > 0) giveArray(this.#held);
    this.#held = new Float32Array(0);
  }

  /** Returns the middle of the quietest `width` samples from `begin` to `end`: where a cut does the least harm. */
  quietest(begin: number, end: number, width: number): number {
    const held = this.#held.subarray(begin - this.#begin, end - this.#begin);
    let energy = 0;
    let least = Number.POSITIVE_INFINITY;
    let position = end;
    for (let i = 0; i < held.length; ++i) {
      energy += held[i] ** 2 - (i >= width ? held[i - width] ** 2 : 0);
      // Of equally quiet ones the last gives the longest window.
      if (i + 1 >= width && energy <= least) {
        least = energy;
        position = begin + i + 1 - Math.floor(width / 2);
      }
    }
    return position;
  }

  /** Forgets what is before `begin`. */
  drop(begin: number): void {
    const count = Math.min(begin, this.#end) - this.#begin;
    // Moving costs time for what is kept, so wait until that is the smaller part.
    if (count < (this.#end - this.#begin) / 2) return;
    this.#held.copyWithin(0, count, this.#end - this.#begin);
    this.#begin += count;
  }

  /**
   * Fills `into` with the samples from `begin` on. Before its start the recording is mirrored at the first sample, as
   * the reference pads it. After its end, or from `limit` on, there is silence. Returns the index in `into` where that
   * begins.
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
