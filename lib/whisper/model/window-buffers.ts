/** Buffers for the samples of windows, used again and again. As garbage, megabytes a window would be collected late. */

/** Bytes of unused buffers that are kept in any case. */
const keptBytes = 1 << 26;

export class WindowBuffers {
  readonly #length: number;
  readonly #kept: number;
  readonly #unused: Float32Array[] = [];

  /**
   * @param length Samples of a buffer. @param atLeast The number of unused buffers that are kept even if they are
   *   large.
   */
  constructor(length: number, atLeast: number) {
    this.#length = length;
    this.#kept = Math.max(atLeast, Math.floor(keptBytes / (4 * length)));
  }

  /**
   * Calls `work` with a buffer, which is used for something else as soon as the promise settles. Its contents are those
   * of an earlier use.
   */
  async use<T>(work: (samples: Float32Array) => Promise<T>): Promise<T> {
    const samples = this.#unused.pop() ?? new Float32Array(this.#length);
    try {
      return await work(samples);
    } finally {
      if (this.#unused.length < this.#kept) this.#unused.push(samples);
    }
  }
}
