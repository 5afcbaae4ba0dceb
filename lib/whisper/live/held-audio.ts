/** A buffer of a stream's recent samples, addressed by their positions in the stream. */
export class HeldAudio {
  #held = new Float32Array(1 << 16);
  #begin = 0;
  #end = 0;

  /** Position of the first sample in the buffer. */
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

  /** Drops samples before `begin`: at once if `now` is true, otherwise as soon as they are half of the buffer. */
  drop(begin: number, now = false): void {
    const count = Math.min(Math.round(begin), this.#end) - this.#begin;
    // Dropping moves all kept samples. If they are at most half, each sample is moved about once.
    if (count <= 0 || (!now && count < (this.#end - this.#begin) / 2)) return;
    this.#held.copyWithin(0, count, this.#end - this.#begin);
    this.#begin += count;
  }

  /** Returns a copy of the samples between two positions, which must be in the buffer. */
  slice(begin: number, end: number): Float32Array {
    return this.#held.slice(begin - this.#begin, end - this.#begin);
  }

  /** Fills `into` with the samples from position `begin` to `end`, with zeros in place of those not in the buffer. */
  fill(into: Float32Array, begin: number, end: number): void {
    into.fill(0);
    const from = Math.max(begin, this.#begin);
    const to = Math.min(begin + into.length, this.#end, end);
    if (to > from) into.set(this.#held.subarray(from - this.#begin, to - this.#begin), from - begin);
  }
}
