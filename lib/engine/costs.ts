/** What encodings and steps have cost of late, and what follows for which of the two comes next. */

/** The share of the latest measurement in an average. */
const share = 0.1;

const averaged = (average: number, value: number) => (average === 0 ? value : average + share * (value - average));

export class Costs {
  /** Milliseconds of an encoding. */
  #encode = 0;
  /** Milliseconds of a step, by the number of rows. */
  readonly #steps: number[] = [];
  /** Steps of a search. */
  #length = 0;

  encoded(milliseconds: number): void {
    this.#encode = averaged(this.#encode, milliseconds);
  }

  stepped(milliseconds: number, steps: number, rows: number): void {
    this.#steps[rows] = averaged(this.#steps[rows] ?? 0, milliseconds / steps);
  }

  ended(steps: number): void {
    this.#length = averaged(this.#length, steps);
  }

  /** Milliseconds of a step of so many rows, as far as is known: of the nearest number. */
  #step(rows: number): number {
    for (let apart = 0; apart < this.#steps.length + rows; ++apart) {
      const found = this.#steps[rows - apart] ?? this.#steps[rows + apart];
      if (found !== undefined) return found;
    }
    return 0;
  }

  /**
   * Whether the next window's encoding comes before more steps of the rows that are being decoded. Each of these waits
   * for the encoding then. Otherwise those that wait are kept until these have ended, and what it saves to decode them
   * together is lost: for everybody that waits, and `weight` times as much, for those that will.
   */
  encodesFirst(rows: number, waiting: number, weight: number): boolean {
    if (rows === 0 || this.#length === 0) return true;
    const step = this.#step(rows);
    const alone = this.#step(1);
    // Rows are half way on average.
    const left = this.#length / 2;
    const marginal = rows > 1 ? Math.max(0, (step - alone) / (rows - 1)) : 0;
    const saved = left * Math.max(0, alone - marginal);
    return left * step + weight * waiting * saved >= rows * this.#encode;
  }
}
