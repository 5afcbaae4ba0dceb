/** What waits for the device, and who is next. */
import { type EngineRequest, priorities } from './request.js';

export interface Waiting {
  readonly request: EngineRequest;
  /** When it came, on the engine's clock in milliseconds. */
  readonly since: number;
}

/** Milliseconds of waiting that raise a request by one class. */
export const ageing = 5000;

/** 0 is served first. */
function level({ request, since }: Waiting, now: number): number {
  return Math.max(0, priorities.indexOf(request.priority) - Math.floor((now - since) / ageing));
}

/**
 * A list in which the next one is found when it is wanted, since ranks change while things wait: by class (waiting
 * raises it), then deadline, then by who has been served least, then by who came first.
 */
export class WaitingList<Item extends Waiting> {
  #items: Item[] = [];

  get length(): number {
    return this.#items.length;
  }

  /** In the order in which they came. */
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

  /** The next one that `fits`, which stays in the list. */
  next(now: number, fits: (item: Item) => boolean = () => true): Item | undefined {
    let best: Item | undefined;
    for (const item of this.#items) if (fits(item) && (!best || before(item, best, now))) best = item;
    return best;
  }

  /** Takes out all that `condition` holds for. */
  takeWhere(condition: (item: Item) => boolean): Item[] {
    const taken = this.#items.filter(condition);
    if (taken.length > 0) this.#items = this.#items.filter((item) => !taken.includes(item));
    return taken;
  }
}

function before(a: Waiting, b: Waiting, now: number): boolean {
  const levels = level(a, now) - level(b, now);
  if (levels !== 0) return levels < 0;
  // An infinite deadline less an infinite one is not a number.
  if (a.request.deadline !== b.request.deadline) return a.request.deadline < b.request.deadline;
  if (a.request.served !== b.request.served) return a.request.served < b.request.served;
  return a.since < b.since;
}
