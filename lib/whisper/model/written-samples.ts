/** What the encoder's tensor of samples holds: behind a short clip there is silence, most of which is there already. */
export class WrittenSamples {
  /** Samples from here on are zeros. */
  #end = 0;

  /**
   * What of windows of `length` samples each must be written, from each window's place on. `end`: where a window's
   * zeros begin, as far as that is known.
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

  /** Says that so many samples were written in another way. */
  filled(count: number): void {
    this.#end = Math.max(this.#end, count);
  }
}
