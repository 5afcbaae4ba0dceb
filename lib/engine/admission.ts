/** Admission to a device: the waiting windows and searches, and the positions and rows that they wait for. */
import { OneheadError } from '../errors.js';
import { onAbort } from '../signals.js';
import { longestDelay } from '../timers.js';
import type { EngineFigures } from './figures.js';
import { Ranges } from './ranges.js';
import { byPriority, type EngineRequest } from './request.js';
import type { Slot } from './runtime.js';
import type { EncodeTask, Encoding, RowTask, Task } from './tasks.js';
import { type Waiting, WaitingList } from './waiting.js';

/** A window that has a slot and is encoded next. */
export interface Admitted<Window, Search, Result> {
  task: EncodeTask<Window, Search, Result>;
  slot: Slot;
}

/** The error of a request that waited beyond its deadline. */
export const deadlinePassed = () =>
  new OneheadError('TIMED_OUT', 'The deadline passed while the request waited; allow more time or send fewer at once.');

/** The calls of an admission to its engine. */
export interface AdmissionEvents {
  now(): number;
  /** Something waits, or no longer does. */
  changed(): void;
  /** A waiting or running task was cancelled. */
  cancelled(): void;
}

export class Admission<Window, Search, Result> {
  readonly positions: Ranges;
  readonly rows: Ranges;
  readonly windows = new WaitingList<EncodeTask<Window, Search, Result>>(({ positions }) => positions);
  readonly searches = new WaitingList<RowTask>(({ count }) => count);
  readonly #events: AdmissionEvents;
  /** Fires at the earliest deadline of what waits, even if the device hangs. */
  #deadlineTimer: NodeJS.Timeout | undefined;
  #timerDeadline = Number.POSITIVE_INFINITY;
  /**
   * Audio positions charged to each open request on average, the initial value of a new request. It grows with every
   * window, so that a request's second window does not wait endlessly for newer requests.
   */
  #served = 0;
  /** The number of encoded windows that are not closed. */
  #open = 0;

  constructor(positions: number, rows: number, events: AdmissionEvents) {
    this.positions = new Ranges(positions);
    this.rows = new Ranges(rows);
    this.#events = events;
  }

  #now(): number {
    return this.#events.now();
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
    const oldestByPriority = byPriority((priority) => Math.max(windows[priority], searches[priority]));
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

  /**
   * Returns the promise of a task that waits. `add` adds the task to its list and returns the function that removes it
   * when the request is cancelled.
   */
  wait<T>(request: EngineRequest, add: (task: Task & { resolve(value: T): void }) => () => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const { signal } = request;
      if (signal?.aborted) return reject(signal.reason);
      const remove = add({
        request,
        since: this.#now(),
        resolve: (value) => {
          forget();
          resolve(value);
        },
        reject: (error) => {
          forget();
          reject(error);
        },
      });
      const cancel = () => {
        remove();
        this.#events.cancelled();
        reject(signal!.reason);
        this.#events.changed();
      };
      const forget = signal ? onAbort(signal, cancel) : () => {};
      this.#watchDeadline(request.deadline);
      this.#events.changed();
    });
  }

  /** Sees to it that what waits is rejected at this deadline. */
  #watchDeadline(deadline: number): void {
    if (deadline >= this.#timerDeadline) return;
    this.#timerDeadline = deadline;
    clearTimeout(this.#deadlineTimer);
    const passed = () => {
      this.#timerDeadline = Number.POSITIVE_INFINITY;
      this.rejectLate();
      this.#watchDeadline(this.#nextDeadline);
      this.#events.changed();
    };
    const delay = Math.min(longestDelay, Math.max(1, Math.ceil(deadline - this.#now())));
    this.#deadlineTimer = setTimeout(passed, delay).unref();
  }

  /** The earliest deadline of anything that waits. */
  get #nextDeadline(): number {
    return [...this.windows.items, ...this.searches.items].reduce(
      (earliest, { request: { deadline } }) => Math.min(earliest, deadline),
      Number.POSITIVE_INFINITY,
    );
  }

  /** Rejects what still waits after its deadline. */
  rejectLate(): void {
    if (this.windows.length === 0 && this.searches.length === 0) return;
    const now = this.#now();
    const isLate = ({ request }: Waiting) => request.deadline <= now;
    for (const task of [...this.windows.takeWhere(isLate), ...this.searches.takeWhere(isLate)]) {
      task.reject(deadlinePassed());
    }
  }

  /** Rejects the waiting searches of a window that could not be encoded. */
  rejectOf(encoding: Encoding, error: unknown): void {
    for (const task of this.searches.takeWhere((search) => search.encoding === encoding)) task.reject(error);
  }

  /** Rejects everything that waits. */
  close(error: unknown): void {
    clearTimeout(this.#deadlineTimer);
    for (const task of [...this.windows.takeWhere(() => true), ...this.searches.takeWhere(() => true)]) {
      task.reject(error);
    }
  }
}
