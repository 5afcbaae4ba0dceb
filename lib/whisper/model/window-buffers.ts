/** Buffers for the samples of windows, used again and again: megabytes of garbage a window would be collected late. */
/** Bytes of buffers that are kept in any case. */
const keptBytes = 1 << 25;

export class WindowBuffers {
  readonly #length: number;
  readonly #most: number;
  readonly #free: Float32Array[] = [];

  /**
   * @param length Samples of a buffer. @param least Buffers that are kept while nobody uses them, and more where they
   *   are small.
   */
  constructor(length: number, least: number) {
    this.#length = length;
    this.#most = Math.max(least, Math.floor(keptBytes / (4 * length)));
  }

  /**
   * Runs `work` with a buffer, which is somebody else's as soon as the promise settles. Its contents are those of an
   * earlier use.
   */
  async use<T>(work: (samples: Float32Array) => Promise<T>): Promise<T> {
    const samples = this.#free.pop() ?? new Float32Array(this.#length);
    try {
      return await work(samples);
    } finally {
      if (this.#free.length < this.#most) this.#free.push(samples);
    }
  }
}
