/** Lists of what waits for a device, and the order in which it is served. */
import { byPriority, type EngineRequest, type Priority, priorities } from './request.js';

export interface Waiting {
  readonly request: EngineRequest;
  /** When it was added, in milliseconds on the engine's clock. */
  readonly since: number;
}

/** Milliseconds of waiting after which a class may go before more urgent ones, as far as its share allows. */
export const ageing = 5000;

/**
 * Work that goes first for each unit of work of a class that waits behind it. So a class that always waits gets a
 * ninth of the work of both, however many of its requests wait, and the others get the rest.
 */
export const share = 8;

/** The items of one class, or a part of them. */
interface Group<Item> {
  best: Item | undefined;
  oldest: number;
}

/**
 * Chooses between groups of which the first that has items is served. A later one is served instead if it has waited
 * for `ageing` and the earlier ones have been given `share` times its last work since.
 */
class Shares {
  /** The work of earlier groups until each group's next turn. */
  readonly #owed: number[];

  constructor(groups: number) {
    this.#owed = new Array(groups).fill(0);
  }

  /** The index of the group that is served next; -1 if all are empty. */
  next(groups: readonly Group<unknown>[], now: number): number {
    const first = groups.findIndex(({ best }) => best !== undefined);
    const isDue = ({ best, oldest }: Group<unknown>, index: number) =>
      index > first && best !== undefined && this.#owed[index] <= 0 && now - oldest >= ageing;
    const due = groups.findIndex(isDue);
    return due < 0 ? first : due;
  }

  serve(group: number, work: number): void {
    for (let later = group + 1; later < this.#owed.length; ++later) this.#owed[later] -= work;
    this.#owed[group] = share * work;
  }
}

const hasDeadline = ({ request }: Waiting): boolean => request.deadline !== Number.POSITIVE_INFINITY;
const classOf = ({ request }: Waiting): number => priorities.indexOf(request.priority);

/**
 * Items are ordered by priority, then by deadline, then by how little their request has been served, then by arrival.
 * Items that this order would keep waiting for ever, of a less urgent class or without a deadline, have a share.
 * Since the order changes while they wait, the next item is looked for when it is wanted.
 */
export class WaitingList<Item extends Waiting> {
  #items: Item[] = [];
  readonly #work: (item: Item) => number;
  readonly #classes = new Shares(priorities.length);
  /** For each class: its items with a deadline, and those without. */
  readonly #deadlines = priorities.map(() => new Shares(2));

  /** @param work The amount of work of an item, in any unit. */
  constructor(work: (item: Item) => number = () => 1) {
    this.#work = work;
  }

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

  /** Removes an item without serving it. */
  remove(item: Item): void {
    const index = this.#items.indexOf(item);
    if (index >= 0) this.#items.splice(index, 1);
  }

  /** Removes the item that is served next. */
  serve(item: Item): void {
    this.remove(item);
    const [index, work] = [classOf(item), this.#work(item)];
    this.#classes.serve(index, work);
    this.#deadlines[index].serve(hasDeadline(item) ? 0 : 1, work);
  }

  /** The item that is served next. It stays in the list. */
  next(now: number): Item | undefined {
    if (this.#items.length < 2) return this.#items[0];
    const parts = priorities.map(() => [group<Item>(), group<Item>()]);
    for (const item of this.#items) {
      const part = parts[classOf(item)][hasDeadline(item) ? 0 : 1];
      if (!part.best || isBefore(item, part.best)) part.best = item;
      part.oldest = Math.min(part.oldest, item.since);
    }
    const classes = parts.map(([urgent, other]) => ({
      best: urgent.best ?? other.best,
      oldest: Math.min(urgent.oldest, other.oldest),
    }));
    const chosen = this.#classes.next(classes, now);
    return chosen < 0 ? undefined : parts[chosen][this.#deadlines[chosen].next(parts[chosen], now)].best;
  }

  /** The longest wait of each class, in milliseconds; 0 if none waits. */
  oldest(now: number): Record<Priority, number> {
    const oldest = byPriority(() => 0);
    for (const { request, since } of this.#items) {
      oldest[request.priority] = Math.max(oldest[request.priority], now - since);
    }
    return oldest;
  }

  /** Removes and returns all items that satisfy the condition. */
  takeWhere(condition: (item: Item) => boolean): Item[] {
    const taken = this.#items.filter(condition);
    if (taken.length > 0) this.#items = this.#items.filter((item) => !taken.includes(item));
    return taken;
  }
}

const group = <Item>(): Group<Item> => ({ best: undefined, oldest: Number.POSITIVE_INFINITY });

/** The order within a class. */
function isBefore(a: Waiting, b: Waiting): boolean {
  // Not by subtraction: two infinite deadlines would give NaN.
  if (a.request.deadline !== b.request.deadline) return a.request.deadline < b.request.deadline;
  if (a.request.served !== b.request.served) return a.request.served < b.request.served;
  return a.since < b.since;
}
