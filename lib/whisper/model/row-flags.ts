/**
 * Which rows may still have a `finished` flag of a sequence that is no longer decoded. A run of steps ends when one
 * more flag is set, so these flags are cleared in the next job.
 */
import type { Sequence } from '../../engine/runtime.js';
import type { Search } from './search.js';

export class RowFlags {
  #left: Sequence<Search>[] = [];
  /** The last sequence that was started in each row. */
  readonly #owners: (Sequence<Search> | undefined)[] = [];

  /** Starting a sequence writes the flags of its rows. */
  started(sequence: Sequence<Search>): void {
    for (const row of rowsOf(sequence)) this.#owners[row] = sequence;
  }

  /** A sequence is no longer decoded. */
  left(...sequences: readonly Sequence<Search>[]): void {
    this.#left.push(...sequences);
  }

  /** Returns the rows whose flags the next job clears. */
  take(): number[] {
    // A sequence that was started in the row since then has its own flag.
    const rows = this.#left.flatMap((sequence) => rowsOf(sequence).filter((row) => this.#owners[row] === sequence));
    this.#left = [];
    return rows;
  }

  /** Returns a function that restores the present state, for a job that may be refused. */
  saved(): () => void {
    const left = this.#left;
    return () => {
      this.#left = left;
    };
  }
}

const rowsOf = ({ rows: { first, count } }: Sequence<Search>): number[] =>
  Array.from({ length: count }, (_, i) => first + i);
