/** Who waits for a device, the places that there are, and who gets them next. */
import { OneheadError } from '../errors.js';
import { Ranges } from './ranges.js';
import type { Slot } from './runtime.js';
import type { EncodeTask, RowTask } from './tasks.js';
import { type Waiting, WaitingList } from './waiting.js';

/** A window that is encoded next, and its slot. */
export interface Admitted<Window, Search, Found> {
  task: EncodeTask<Window, Search, Found>;
  slot: Slot;
}

export class Admission<Window, Search, Found> {
  readonly positions: Ranges;
  readonly rows: Ranges;
  readonly windows = new WaitingList<EncodeTask<Window, Search, Found>>();
  readonly searches = new WaitingList<RowTask>();
  readonly #now: () => number;
  /**
   * Positions that each of the requests under way was given on average: where a new one begins. It grows with every
   * window, so that a request's second window is not kept waiting by ever new requests.
   */
  #served = 0;
  /** Encoded windows that are not closed. */
  #open = 0;

  constructor(positions: number, rows: number, now: () => number) {
    this.positions = new Ranges(positions);
    this.rows = new Ranges(rows);
    this.#now = now;
  }

  /** What `EngineRequest.served` begins at. */
  get served(): number {
    return this.#served;
  }

  /** Work that is under way or waits, as a share of what fits at once. */
  get load(): number {
    const waiting = this.windows.items.reduce((sum, { positions }) => sum + positions, 0);
    return (waiting + this.positions.used) / this.positions.size + (this.#claimed + this.rows.used) / this.rows.size;
  }

  /** Rows that searches wait for. */
  get #claimed(): number {
    return this.searches.items.reduce((sum, { count }) => sum + count, 0);
  }

  /** What waits and the milliseconds of who has waited longest. */
  get waiting(): { windows: number; searches: number; oldestMilliseconds: number } {
    const now = this.#now();
    const oldestMilliseconds = [...this.windows.items, ...this.searches.items].reduce(
      (oldest, { since }) => Math.max(oldest, now - since),
      0,
    );
    return { windows: this.windows.length, searches: this.searches.length, oldestMilliseconds };
  }

  /** Throws OneheadError INVALID_ARGUMENT where a search takes more rows than there are. */
  checkRows(count: number): void {
    if (count <= this.rows.size) return;
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `This search takes ${count} rows, but the model was loaded with ${this.rows.size}; load it with \`rows: ${count}\`.`,
      { argument: 'rows' },
    );
  }

  /**
   * The window that is encoded next; undefined while it does not fit or there are no rows for it: nobody overtakes it
   * then.
   */
  nextWindow(): EncodeTask<Window, Search, Found> | undefined {
    if (this.windows.length === 0 || this.rows.free <= this.#claimed) return undefined;
    const next = this.windows.next(this.#now());
    return next && this.positions.fits(next.positions) ? next : undefined;
  }

  /** The search that gets rows next; undefined while they are not free. */
  nextSearch(): RowTask | undefined {
    if (this.searches.length === 0) return undefined;
    const next = this.searches.next(this.#now());
    return next && this.rows.fits(next.count) ? next : undefined;
  }

  /**
   * The next window and others of the same length that fit beside it, `most` together, in the order in which they would
   * be next.
   */
  takeTogether(first: EncodeTask<Window, Search, Found>, most: number): Admitted<Window, Search, Found>[] {
    const taken: Admitted<Window, Search, Found>[] = [];
    for (let task: typeof first | undefined = first; task; ) {
      const begin = this.positions.take(task.positions);
      if (begin === null) break;
      this.windows.remove(task);
      taken.push({ task, slot: { begin, positions: task.positions } });
      const requests = this.windows.length + this.#open + taken.length;
      this.#served = Math.max(this.#served + task.positions / requests, task.request.served);
      task.request.charge(task.positions);
      if (taken.length >= most || taken.length >= this.rows.free - this.#claimed) break;
      const next = this.windows.next(this.#now());
      task = next?.positions === first.positions ? next : undefined;
    }
    this.#open += taken.length;
    return taken;
  }

  /** Takes back the slot of a window that was taken. */
  giveBack(slot: Slot): void {
    this.#open -= 1;
    this.positions.give(slot.begin);
  }

  /** Rejects what waited longer than it may. */
  rejectLate(): void {
    if (this.windows.length === 0 && this.searches.length === 0) return;
    const now = this.#now();
    const late = ({ request }: Waiting) => request.deadline <= now;
    for (const task of [...this.windows.takeWhere(late), ...this.searches.takeWhere(late)]) {
      task.reject(
        new OneheadError(
          'TIMED_OUT',
          'The deadline passed while the request waited; allow more time or send fewer at once.',
        ),
      );
    }
  }

  /** Rejects all that waits. */
  close(error: unknown): void {
    for (const task of [...this.windows.takeWhere(() => true), ...this.searches.takeWhere(() => true)]) {
      task.reject(error);
    }
  }
}
