/**
 * Remembers which parts of the encoder's tensor of samples may contain sound. A short clip is followed by zeros, most
 * of which are there already and need not be written again.
 */
export class WrittenSamples {
  /** The other samples of the tensor are zeros. */
  #sound: { begin: number; end: number }[] = [];

  /**
   * Returns the part of each window of `length` samples that must be written, from the window's beginning. The windows
   * are written one behind the other. `end` is where a window's zeros begin, if that is known.
   */
  needed(windows: readonly { samples: Float32Array; end?: number }[], length: number): Float32Array[] {
    const before = this.#sound;
    this.#sound = behind(before, windows.length * length);
    return windows.map(({ samples, end = length }, index) => {
      const begin = index * length;
      const sound = Math.min(end, length);
      const earlier = before.filter((range) => range.begin < begin + length).map((range) => range.end - begin);
      this.#sound.push({ begin, end: begin + sound });
      return samples.subarray(0, Math.min(length, Math.max(sound, ...earlier)));
    });
  }

  /** Notes that the first `count` samples may have been written by other work. */
  filled(count: number): void {
    this.#sound = [{ begin: 0, end: count }, ...behind(this.#sound, count)];
  }
}

/** The ranges without their parts before `position`. */
function behind(ranges: readonly { begin: number; end: number }[], position: number) {
  return ranges
    .filter(({ end }) => end > position)
    .map(({ begin, end }) => ({ begin: Math.max(begin, position), end }));
}
