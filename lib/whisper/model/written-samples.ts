/**
 * Remembers where the zeros of the encoder's tensor of samples begin. A short clip is followed by zeros, most of which
 * are there already and need not be written again.
 */
export class WrittenSamples {
  /** In the tensor, samples from here on are zeros. */
  #end = 0;

  /**
   * Returns the part of each window of `length` samples that must be written, from the window's beginning. `end` is
   * where a window's zeros begin, if that is known.
   */
  needed(windows: readonly { samples: Float32Array; end?: number }[], length: number): Float32Array[] {
    if (windows.length > 1) {
      this.filled(windows.length * length);
      return windows.map(({ samples }) => samples);
    }
    const [{ samples, end = length }] = windows;
    const sound = Math.min(end, length);
    const written = Math.min(length, Math.max(sound, this.#end));
    if (this.#end <= length) this.#end = sound;
    return [samples.subarray(0, written)];
  }

  /** Notes that so many samples were written by other work. */
  filled(count: number): void {
    this.#end = Math.max(this.#end, count);
  }
}
