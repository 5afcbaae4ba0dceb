/** Lists of what waits for a device, in the order of priority. */
import { type EngineRequest, priorities } from './request.js';

export interface Waiting {
  readonly request: EngineRequest;
  /** When it was added, in milliseconds on the engine's clock. */
  readonly since: number;
}

/** Milliseconds of waiting after which an item counts as one priority higher. */
export const ageing = 5000;

/** The priority as a number, with waiting taken into account; 0 is served first. */
function level({ request, since }: Waiting, now: number): number {
  return Math.max(0, priorities.indexOf(request.priority) - Math.floor((now - since) / ageing));
}

/**
 * Items are ordered by priority (which rises with waiting), then by deadline, then by how little their request has been
 * served, then by arrival. Since this changes while they wait, the next item is looked for when it is wanted.
 */
export class WaitingList<Item extends Waiting> {
  #items: Item[] = [];

  get length(): number {
    return this.#items.length;
  }

  /** In the order of arrival. */
  get items(): readonly Item[] {
    return this.#items;
  }

  add(item: Item): void {
    this.#items.push(item);
  }

  remove(item: Item): void {
    const index = this.#items.indexOf(item);
    if (index >= 0) this.#items.splice(index, 1);
  }

  /** The item that is served next. It stays in the list. */
  next(now: number): Item | undefined {
    let best: Item | undefined;
    for (const item of this.#items) if (!best || isBefore(item, best, now)) best = item;
    return best;
  }

  /** Removes and returns all items that satisfy the condition. */
  takeWhere(condition: (item: Item) => boolean): Item[] {
    const taken = this.#items.filter(condition);
    if (taken.length > 0) this.#items = this.#items.filter((item) => !taken.includes(item));
    return taken;
  }
}

function isBefore(a: Waiting, b: Waiting, now: number): boolean {
  const difference = level(a, now) - level(b, now);
  if (difference !== 0) return difference < 0;
  // Not by subtraction: two infinite deadlines would give NaN.
  if (a.request.deadline !== b.request.deadline) return a.request.deadline < b.request.deadline;
  if (a.request.served !== b.request.served) return a.request.served < b.request.served;
  return a.since < b.since;
}
