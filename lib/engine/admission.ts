/** Admission to a device: the waiting windows and searches, and the positions and rows that they wait for. */
import { OneheadError } from '../errors.js';
import type { EngineFigures } from './figures.js';
import { Ranges } from './ranges.js';
import type { Priority } from './request.js';
import type { Slot } from './runtime.js';
import type { EncodeTask, RowTask } from './tasks.js';
import { type Waiting, WaitingList } from './waiting.js';

/** A window that has a slot and is encoded next. */
export interface Admitted<Window, Search, Result> {
  task: EncodeTask<Window, Search, Result>;
  slot: Slot;
}

export class Admission<Window, Search, Result> {
  readonly positions: Ranges;
  readonly rows: Ranges;
  readonly windows = new WaitingList<EncodeTask<Window, Search, Result>>(({ positions }) => positions);
  readonly searches = new WaitingList<RowTask>(({ count }) => count);
  readonly #now: () => number;
  /**
   * Audio positions charged to each open request on average, the initial value of a new request. It grows with every
   * window, so that a request's second window does not wait endlessly for newer requests.
   */
  #served = 0;
  /** The number of encoded windows that are not closed. */
  #open = 0;

  constructor(positions: number, rows: number, now: () => number) {
    this.positions = new Ranges(positions);
    this.rows = new Ranges(rows);
    this.#now = now;
  }

  /** The initial `EngineRequest.served` of a new request. */
  get served(): number {
    return this.#served;
  }

  /** Work that is under way or waits, as a share of what fits at once. */
  get load(): number {
    const waiting = this.windows.items.reduce((sum, { positions }) => sum + positions, 0);
    return (waiting + this.positions.used) / this.positions.size + (this.#rowsWanted + this.rows.used) / this.rows.size;
  }

  /** The number of rows that searches wait for. */
  get #rowsWanted(): number {
    return this.searches.items.reduce((sum, { count }) => sum + count, 0);
  }

  get waiting(): EngineFigures['waiting'] {
    const now = this.#now();
    const [windows, searches] = [this.windows.oldest(now), this.searches.oldest(now)];
    const oldest = (priority: Priority) => Math.max(windows[priority], searches[priority]);
    const oldestByPriority = { live: oldest('live'), interactive: oldest('interactive'), batch: oldest('batch') };
    return {
      windows: this.windows.length,
      searches: this.searches.length,
      oldestMilliseconds: Math.max(...Object.values(oldestByPriority)),
      oldestByPriority,
    };
  }

  /** Throws OneheadError INVALID_ARGUMENT if a search needs more rows than exist. */
  checkRows(count: number): void {
    if (count <= this.rows.size) return;
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `This search takes ${count} rows, but the model was loaded with ${this.rows.size}; load it with \`rows: ${count}\`.`,
      { argument: 'rows' },
    );
  }

  /**
   * The window that is encoded next. Undefined if it does not fit or no row would be free for it: no other window
   * overtakes it then.
   */
  nextWindow(): EncodeTask<Window, Search, Result> | undefined {
    if (this.windows.length === 0 || this.rows.free <= this.#rowsWanted) return undefined;
    const next = this.windows.next(this.#now());
    return next && this.positions.fits(next.positions) ? next : undefined;
  }

  /** The search that gets rows next. Undefined if they are not free. */
  nextSearch(): RowTask | undefined {
    if (this.searches.length === 0) return undefined;
    const next = this.searches.next(this.#now());
    return next && this.rows.fits(next.count) ? next : undefined;
  }

  /**
   * Allocates slots for `first` and the windows that are next after it, as far as they are of the same length and fit:
   * at most `limit` windows in all.
   */
  admit(first: EncodeTask<Window, Search, Result>, limit: number): Admitted<Window, Search, Result>[] {
    const admitted: Admitted<Window, Search, Result>[] = [];
    for (let task: typeof first | undefined = first; task; ) {
      const begin = this.positions.allocate(task.positions);
      if (begin === null) break;
      this.windows.serve(task);
      admitted.push({ task, slot: { begin, positions: task.positions } });
      const requests = this.windows.length + this.#open + admitted.length;
      this.#served = Math.max(this.#served + task.positions / requests, task.request.served);
      task.request.charge(task.positions);
      if (admitted.length >= limit || admitted.length >= this.rows.free - this.#rowsWanted) break;
      const next = this.windows.next(this.#now());
      task = next?.positions === first.positions ? next : undefined;
    }
    this.#open += admitted.length;
    return admitted;
  }

  /** Frees the slot of an admitted window. */
  release(slot: Slot): void {
    this.#open -= 1;
    this.positions.release(slot.begin);
  }

  /** Rejects what still waits after its deadline. */
  rejectLate(): void {
    if (this.windows.length === 0 && this.searches.length === 0) return;
    const now = this.#now();
    const isLate = ({ request }: Waiting) => request.deadline <= now;
    for (const task of [...this.windows.takeWhere(isLate), ...this.searches.takeWhere(isLate)]) {
      task.reject(
        new OneheadError(
          'TIMED_OUT',
          'The deadline passed while the request waited; allow more time or send fewer at once.',
        ),
      );
    }
  }

  /** Rejects everything that waits. */
  close(error: unknown): void {
    for (const task of [...this.windows.takeWhere(() => true), ...this.searches.takeWhere(() => true)]) {
      task.reject(error);
    }
  }
}
