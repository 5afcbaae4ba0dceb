/**
 * An allocator of ranges in a pool of positions or rows. Each range gets the lowest free place, so that what is in use
 * stays close together and a step runs the smallest program that holds its rows.
 */
export class Ranges {
  readonly size: number;
  /** Allocated ranges in order; they do not overlap. */
  readonly #allocated: { begin: number; count: number }[] = [];
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

  /** True if a free range of `count` exists. */
  fits(count: number): boolean {
    return this.#find(count) !== null;
  }

  /** Returns the beginning of the allocated range, or null if no free range is as long. */
  allocate(count: number): number | null {
    const found = this.#find(count);
    if (!found) return null;
    this.#allocated.splice(found.index, 0, { begin: found.begin, count });
    this.#used += count;
    return found.begin;
  }

  #find(count: number): { begin: number; index: number } | null {
    let begin = 0;
    let index = 0;
    for (const next of this.#allocated) {
      if (next.begin - begin >= count) break;
      begin = next.begin + next.count;
      index += 1;
    }
    return this.size - begin >= count ? { begin, index } : null;
  }

  /** Frees the range that begins there. */
  release(begin: number): void {
    const index = this.#allocated.findIndex((range) => range.begin === begin);
    if (index < 0) throw new Error(`No range begins at ${begin}.`);
    this.#used -= this.#allocated[index].count;
    this.#allocated.splice(index, 1);
  }
}
