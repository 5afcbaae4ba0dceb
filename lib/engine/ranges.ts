/** Ranges of neighbouring places: taken at the lowest free place, so that what is in use stays close together. */
export class Ranges {
  readonly size: number;
  /** In order, never overlapping. */
  readonly #taken: { begin: number; count: number }[] = [];
  #used = 0;

  constructor(size: number) {
    this.size = size;
  }

  get used(): number {
    return this.#used;
  }

  get free(): number {
    return this.size - this.#used;
  }

  /** Whether `count` neighbouring places are free. */
  fits(count: number): boolean {
    return this.#find(count) !== null;
  }

  /** The first of `count` neighbouring places, or null when there are not so many together. */
  take(count: number): number | null {
    const found = this.#find(count);
    if (!found) return null;
    this.#taken.splice(found.index, 0, { begin: found.begin, count });
    this.#used += count;
    return found.begin;
  }

  #find(count: number): { begin: number; index: number } | null {
    let begin = 0;
    let index = 0;
    for (const next of this.#taken) {
      if (next.begin - begin >= count) break;
      begin = next.begin + next.count;
      index += 1;
    }
    return this.size - begin >= count ? { begin, index } : null;
  }

  give(begin: number): void {
    const index = this.#taken.findIndex((range) => range.begin === begin);
    if (index < 0) throw new Error(`No range begins at ${begin}.`);
    this.#used -= this.#taken[index].count;
    this.#taken.splice(index, 1);
  }
}
