/** Measured costs of encodings and decoder steps, which decide which of the two is done next. */

/** The weight of the latest measurement in a running average. */
const weightOfLatest = 0.1;

const average = (before: number, value: number) => (before === 0 ? value : before + weightOfLatest * (value - before));

export class Costs {
  /** Mean milliseconds of the encoding of a window. */
  #encode = 0;
  /** Mean milliseconds of a step, by number of rows. */
  readonly #steps: number[] = [];
  /** Mean steps of a search. */
  #length = 0;

  /** Counts the encoding of one window. */
  encoded(milliseconds: number): void {
    this.#encode = average(this.#encode, milliseconds);
  }

  stepped(milliseconds: number, steps: number, rows: number): void {
    this.#steps[rows] = average(this.#steps[rows] ?? 0, milliseconds / steps);
  }

  ended(steps: number): void {
    this.#length = average(this.#length, steps);
  }

  /** Milliseconds of a step of so many rows: of the nearest number of rows that was measured, 0 if there is none. */
  #step(rows: number): number {
    for (let distance = 0; distance < this.#steps.length + rows; ++distance) {
      const found = this.#steps[rows - distance] ?? this.#steps[rows + distance];
      if (found !== undefined) return found;
    }
    return 0;
  }

  /**
   * True if encoding the next window now costs less than doing it when the current rows have ended. Now, each of these
   * rows waits for the encoding. Later, the waiting windows wait for these rows, and lose what decoding together saves;
   * `weight` is how much that saving counts.
   */
  encodesFirst(rows: number, waiting: number, weight: number): boolean {
    if (rows === 0 || this.#length === 0) return true;
    const step = this.#step(rows);
    const alone = this.#step(1);
    // On average the rows are half way through their search.
    const stepsLeft = this.#length / 2;
    const marginal = rows > 1 ? Math.max(0, (step - alone) / (rows - 1)) : 0;
    const saved = stepsLeft * Math.max(0, alone - marginal);
    return stepsLeft * step + weight * waiting * saved >= rows * this.#encode;
  }
}
