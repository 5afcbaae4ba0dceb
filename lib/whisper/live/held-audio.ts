/** The recent audio of a stream, addressed by its position. */
export class HeldAudio {
  #held = new Float32Array(1 << 16);
  #begin = 0;
  #end = 0;

  /** Position of the first sample held. */
  get begin(): number {
    return this.#begin;
  }

  /** Number of samples added so far. */
  get end(): number {
    return this.#end;
  }

  add(samples: Float32Array): void {
    const used = this.#end - this.#begin;
    if (used + samples.length > this.#held.length) {
      const grown = new Float32Array(Math.max(2 * this.#held.length, used + samples.length));
      grown.set(this.#held.subarray(0, used));
      this.#held = grown;
    }
    this.#held.set(samples, used);
    this.#end += samples.length;
  }

  /** Drops samples before `begin`: immediately with `now`, otherwise when it is worthwhile. */
  drop(begin: number, now = false): void {
    const count = Math.min(Math.round(begin), this.#end) - this.#begin;
    // Moving costs as much as the kept samples, so it waits until they are the smaller part.
    if (count <= 0 || (!now && count < (this.#end - this.#begin) / 2)) return;
    this.#held.copyWithin(0, count, this.#end - this.#begin);
    this.#begin += count;
  }

  /** A copy of the samples between two positions, both of which must be held. */
  slice(begin: number, end: number): Float32Array {
    return this.#held.slice(begin - this.#begin, end - this.#begin);
  }

  /** Fills `into` with the held samples from `begin` to `end`, followed by silence. */
  fill(into: Float32Array, begin: number, end: number): void {
    into.fill(0);
    const from = Math.max(begin, this.#begin);
    const to = Math.min(begin + into.length, this.#end, end);
    if (to > from) into.set(this.#held.subarray(from - this.#begin, to - this.#begin), from - begin);
  }
}
