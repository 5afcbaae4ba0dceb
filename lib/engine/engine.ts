/**
 * The queue of one device: many requests share one model. Windows are encoded as slots come free, searches join the running batch at any
 * step and leave it at theirs.
 */
import { OneheadError } from '../errors.js';
import { type EngineFigures, publish } from './figures.js';
import { Ranges } from './ranges.js';
import type { EngineRequest } from './request.js';
import type { Rows, Runtime, Sequence, Slot } from './runtime.js';
import {
  type EncodedWindow,
  type EncodeTask,
  type RowTask,
  type Running,
  type SearchOptions,
  type Task,
  Waits,
} from './tasks.js';
import { type Waiting, WaitingList } from './waiting.js';

/** How the device's time is shared. */
export interface EngineLimits {
  /** Milliseconds of encoding between two runs of steps, after which rows that are being decoded have their turn. */
  encodeTime: number;
  /** Steps that those rows are given before the next encoding. */
  stepsBetweenEncodes: number;
  /** Steps before the host looks what has come, at most: a new request or a cancellation ends a run early. */
  stepsPerRun: number;
  /** The same where somebody wants to see the text grow. */
  stepsPerLook: number;
}

const usualLimits: EngineLimits = { encodeTime: 250, stepsBetweenEncodes: 16, stepsPerRun: 64, stepsPerLook: 8 };

/** Lets everything that is ready on the event loop happen: callers go on with what they got, signals abort. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

export class Engine<Window, Search, Found> {
  readonly #runtime: Runtime<Window, Search, Found>;
  readonly #now: () => number;
  readonly #limits: EngineLimits;
  readonly #positions: Ranges;
  readonly #rows: Ranges;
  readonly #windows = new WaitingList<EncodeTask<Window, Search, Found>>();
  readonly #searches = new WaitingList<RowTask>();
  readonly #alone: { work: () => Promise<void>; reject: (error: unknown) => void }[] = [];
  #starting: Running<Search, Found>[] = [];
  #running: Running<Search, Found>[] = [];
  #stop: AbortController | null = null;
  #stepsSinceEncode = 0;
  #active = false;
  /** When the loop began, while it is active. */
  #began = 0;
  #ended: unknown = null;
  /**
   * Positions that each of the requests under way was given on average: where a new one begins. It grows with every window, so that a
   * request's second window is not kept waiting by ever new requests.
   */
  #served = 0;
  /** Encoded windows that are not closed. */
  #open = 0;
  readonly #counts = {
    windows: 0,
    searches: 0,
    steps: 0,
    rowSteps: 0,
    audioPositions: 0,
    cancelled: 0,
    fallbacks: 0,
    encodedAgain: 0,
  };
  readonly #time = { encode: 0, decode: 0, busy: 0 };

  constructor(
    runtime: Runtime<Window, Search, Found>,
    { now = () => performance.now(), limits = {} }: { now?: () => number; limits?: Partial<EngineLimits> } = {},
  ) {
    this.#runtime = runtime;
    this.#now = now;
    this.#limits = { ...usualLimits, ...limits };
    this.#positions = new Ranges(runtime.positions);
    this.#rows = new Ranges(runtime.rows);
  }

  /** What `EngineRequest.served` begins at. */
  get served(): number {
    return this.#served;
  }

  /** Work that is under way or waits, as a share of what fits at once: the least loaded of several engines takes the next window. */
  get load(): number {
    const waiting = this.#windows.items.reduce((sum, { positions }) => sum + positions, 0);
    return (
      (waiting + this.#positions.used) / this.#positions.size + (this.#claimed + this.#rows.used) / this.#rows.size
    );
  }

  /** Rows that searches wait for. */
  get #claimed(): number {
    return this.#searches.items.reduce((sum, { count }) => sum + count, 0);
  }

  /**
   * Encodes a window when a slot is free. Rejects with the reason of the request's signal, with TIMED_OUT when its deadline passes
   * first, with DISPOSED or the device's error when the engine has ended.
   */
  encode(request: EngineRequest, window: Window): Promise<EncodedWindow<Search, Found>> {
    const positions = this.#runtime.positionsOf(window);
    return this.#wait(request, (task) => {
      const waiting = { ...task, window, positions };
      this.#windows.add(waiting);
      return () => this.#windows.remove(waiting);
    });
  }

  /** Runs `work` between two runs of steps, with the device to itself. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      this.#alone.push({ work: () => work().then(resolve, reject), reject });
      this.#wake();
    });
  }

  /** Counts a window that is searched again at a higher temperature. */
  countFallback(): void {
    this.#counts.fallbacks += 1;
  }

  /** Counts a window that is encoded again, whole. */
  countEncodedAgain(): void {
    this.#counts.encodedAgain += 1;
  }

  figures(): EngineFigures {
    const now = this.#now();
    const waiting = [...this.#windows.items, ...this.#searches.items];
    const { encode, decode } = this.#time;
    const busy = this.#time.busy + (this.#active ? now - this.#began : 0);
    return {
      waiting: {
        windows: this.#windows.length,
        searches: this.#searches.length,
        oldestMilliseconds: waiting.reduce((oldest, { since }) => Math.max(oldest, now - since), 0),
      },
      positions: { used: this.#positions.used, total: this.#positions.size },
      rows: { used: this.#rows.used, total: this.#rows.size },
      ...this.#counts,
      time: { encode, decode, host: Math.max(0, busy - encode - decode) },
    };
  }

  /** Rejects everything that is under way or waits. */
  close(error: unknown = new OneheadError('DISPOSED', 'This model has been disposed; load it again.')): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#stop?.abort();
    for (const { reject } of this.#alone.splice(0)) reject(error);
    for (const task of [...this.#windows.takeWhere(() => true), ...this.#searches.takeWhere(() => true)]) {
      task.reject(error);
    }
    for (const { reject } of [...this.#running, ...this.#starting]) reject(error);
    this.#running = [];
    this.#starting = [];
  }

  /** A promise of what waits: `enter` adds it to its list and gives what takes it out again. */
  #wait<T>(request: EngineRequest, enter: (task: Task & { resolve(value: T): void }) => () => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      const { signal } = request;
      if (signal?.aborted) return reject(signal.reason);
      const settled = () => signal?.removeEventListener('abort', abort);
      const leave = enter({
        request,
        since: this.#now(),
        resolve: (value) => {
          settled();
          resolve(value);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      });
      const abort = () => {
        leave();
        this.#counts.cancelled += 1;
        publish({ event: 'cancelled' });
        reject(signal!.reason);
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#wake();
    });
  }

  /** Starts the loop, or ends the run of steps under way where there is something else to do. */
  #wake(): void {
    if (this.#active) {
      if (this.#stop && this.#hasOther()) this.#stop.abort();
      return;
    }
    this.#active = true;
    void this.#loop();
  }

  #hasOther(): boolean {
    return this.#alone.length > 0 || this.#nextSearch() !== undefined || this.#nextWindow() !== undefined;
  }

  async #loop(): Promise<void> {
    this.#began = this.#now();
    try {
      for (;;) {
        await turn();
        if (this.#ended) return;
        this.#giveUpLate();
        for (let next = this.#alone.shift(); next; next = this.#alone.shift()) await next.work();
        await this.#encode();
        await this.#start();
        if (this.#running.length > 0) await this.#step();
        else if (!this.#hasOther()) return;
      }
    } catch (error) {
      publish({ event: 'failed', error });
      this.close(error);
    } finally {
      this.#time.busy += this.#now() - this.#began;
      this.#active = false;
      // What came while the loop was ending.
      if (!this.#ended && (this.#hasOther() || this.#running.length > 0)) this.#wake();
    }
  }

  /** Rejects what waited longer than it may. */
  #giveUpLate(): void {
    const now = this.#now();
    const late = ({ request }: Waiting) => request.deadline <= now;
    for (const task of [...this.#windows.takeWhere(late), ...this.#searches.takeWhere(late)]) {
      task.reject(
        new OneheadError(
          'TIMED_OUT',
          'The deadline passed while the request waited; allow more time or send fewer at once.',
        ),
      );
    }
  }

  /** The window that is encoded next; undefined while it does not fit or there are no rows for it: nobody overtakes it then. */
  #nextWindow(): EncodeTask<Window, Search, Found> | undefined {
    if (this.#rows.free <= this.#claimed) return undefined;
    const next = this.#windows.next(this.#now());
    return next && this.#positions.fits(next.positions) ? next : undefined;
  }

  async #encode(): Promise<void> {
    const begun = this.#now();
    const { encodeTime, stepsBetweenEncodes } = this.#limits;
    if (this.#running.length > 0 && this.#stepsSinceEncode < stepsBetweenEncodes) return;
    for (let first = this.#nextWindow(); first; first = this.#nextWindow()) {
      const tasks = this.#takeTogether(first);
      const started = this.#now();
      const { elapsed } = await this.#runtime.encode(tasks.map(({ task, slot }) => ({ window: task.window, slot })));
      this.#stepsSinceEncode = 0;
      const encodeMilliseconds = this.#now() - started;
      this.#time.encode += elapsed;
      this.#counts.windows += tasks.length;
      const positions = tasks.reduce((sum, { slot }) => sum + slot.positions, 0);
      this.#counts.audioPositions += positions;
      publish({ event: 'encode', windows: tasks.length, positions, elapsed });
      for (const { task, slot } of tasks) {
        const { request, since } = task;
        if (this.#ended || request.signal?.aborted) {
          this.#positions.give(slot.begin);
          task.reject(this.#ended ?? request.signal?.reason);
          continue;
        }
        publish({ event: 'window', waited: started - since, priority: request.priority });
        task.resolve(this.#encoded(request, slot, encodeMilliseconds, new Waits(started - since)));
      }
      // Their searches come before the next window is chosen.
      await turn();
      if (this.#ended) return;
      await this.#start();
      if (this.#running.length > 0 && this.#now() - begun >= encodeTime) return;
    }
  }

  /** The window and others of the same length that fit beside it, in the order in which they would be next, each with its slot. */
  #takeTogether(first: EncodeTask<Window, Search, Found>) {
    const tasks: { task: EncodeTask<Window, Search, Found>; slot: Slot }[] = [];
    for (let task: typeof first | undefined = first; task; ) {
      const begin = this.#positions.take(task.positions);
      if (begin === null) break;
      this.#windows.remove(task);
      tasks.push({ task, slot: { begin, positions: task.positions } });
      const requests = this.#windows.length + this.#open + tasks.length;
      this.#served = Math.max(this.#served + task.positions / requests, task.request.served);
      task.request.served += task.positions;
      if (tasks.length >= this.#runtime.encodeBatch || tasks.length >= this.#rows.free - this.#claimed) break;
      const next = this.#windows.next(this.#now());
      task = next?.positions === first.positions ? next : undefined;
    }
    return tasks;
  }

  #encoded(request: EngineRequest, slot: Slot, encodeTime: number, waits: Waits): EncodedWindow<Search, Found> {
    let open = true;
    this.#open += 1;
    return {
      slot,
      encodeTime,
      get waited() {
        return waits.total;
      },
      search: (search, { onTokens, part } = {}) => {
        const place = part ? { begin: slot.begin + part.begin, positions: part.positions } : slot;
        return this.#search(request, place, waits, search, onTokens);
      },
      withRows: <T>(count: number, work: (rows: Rows, slot: Slot) => Promise<T>) =>
        this.#withRows(request, count, (rows) => work(rows, slot)),
      close: () => {
        if (!open) return;
        open = false;
        this.#open -= 1;
        this.#positions.give(slot.begin);
        this.#wake();
      },
    };
  }

  #checkRows(count: number): void {
    if (count <= this.#rows.size) return;
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `This search takes ${count} rows, but the model was loaded with ${this.#rows.size}; load it with \`rows: ${count}\`.`,
      { argument: 'rows' },
    );
  }

  async #search(
    request: EngineRequest,
    slot: Slot,
    waits: Waits,
    search: Search,
    onTokens?: SearchOptions['onTokens'],
  ): Promise<Found> {
    const count = this.#runtime.rowsOf(search);
    this.#checkRows(count);
    waits.enter(this.#now());
    return this.#wait<Found>(request, ({ resolve, reject, ...task }) => {
      let place: Running<Search, Found> | null = null;
      const waiting: RowTask = {
        ...task,
        reject,
        count,
        begin: async (rows) => {
          waits.begin(this.#now());
          place = { request, waits, sequence: { rows, slot, search }, onTokens, resolve, reject };
          this.#starting.push(place);
        },
      };
      this.#searches.add(waiting);
      // An abort of what runs already ends the run of steps; the rows are freed behind it.
      return () => (place ? this.#stop?.abort() : this.#searches.remove(waiting));
    });
  }

  async #withRows<T>(request: EngineRequest, count: number, work: (rows: Rows) => Promise<T>): Promise<T> {
    this.#checkRows(count);
    return this.#wait<T>(request, ({ resolve, reject, ...task }) => {
      const waiting: RowTask = {
        ...task,
        reject,
        count,
        begin: async (rows) => {
          await work(rows).then(resolve, reject);
          this.#rows.give(rows.first);
        },
      };
      this.#searches.add(waiting);
      return () => this.#searches.remove(waiting);
    });
  }

  #nextSearch(): RowTask | undefined {
    const next = this.#searches.next(this.#now());
    return next && this.#rows.fits(next.count) ? next : undefined;
  }

  /** Gives free rows to searches that wait, and starts these. */
  async #start(): Promise<void> {
    for (let next = this.#nextSearch(); next; next = this.#nextSearch()) {
      const first = this.#rows.take(next.count)!;
      this.#searches.remove(next);
      await next.begin({ first, count: next.count });
    }
    const started = this.#starting;
    this.#starting = [];
    if (started.length === 0) return;
    this.#running.push(...started);
    const { elapsed, ended } = await this.#runtime.start(started.map(({ sequence }) => sequence));
    this.#time.decode += elapsed;
    await this.#finish(ended);
  }

  async #step(): Promise<void> {
    const { stepsBetweenEncodes, stepsPerRun, stepsPerLook } = this.#limits;
    const watched = this.#running.filter(({ onTokens }) => onTokens);
    const longest = watched.length > 0 ? stepsPerLook : stepsPerRun;
    const least = Math.max(1, stepsBetweenEncodes - this.#stepsSinceEncode);
    const times = this.#nextWindow() ? Math.min(least, longest) : longest;
    const stop = new AbortController();
    this.#stop = stop;
    const sequences = this.#running.map(({ sequence }) => sequence);
    try {
      const { elapsed, steps, ended } = await this.#runtime.step(sequences, { times, stop: stop.signal });
      this.#stepsSinceEncode += steps;
      this.#time.decode += elapsed;
      this.#counts.steps += steps;
      const rows = sequences.reduce((sum, sequence) => sum + sequence.rows.count, 0);
      this.#counts.rowSteps += steps * rows;
      publish({ event: 'steps', steps, rows, elapsed });
      await this.#finish(ended);
    } finally {
      this.#stop = null;
    }
    await this.#releaseCancelled();
    await this.#show(this.#running);
  }

  async #finish(ended: readonly Sequence<Search>[]): Promise<void> {
    if (ended.length === 0 || this.#ended) return;
    await this.#show(this.#running.filter(({ sequence }) => ended.includes(sequence)));
    const found = await this.#runtime.collect(ended);
    ended.forEach((sequence, index) => {
      this.#rows.give(sequence.rows.first);
      this.#counts.searches += 1;
      const place = this.#running.findIndex((one) => one.sequence === sequence);
      const [running] = place < 0 ? [] : this.#running.splice(place, 1);
      running?.waits.end(this.#now());
      running?.resolve(found[index]);
    });
  }

  async #releaseCancelled(): Promise<void> {
    const cancelled = this.#running.filter(({ request }) => request.signal?.aborted);
    if (cancelled.length === 0) return;
    this.#running = this.#running.filter((running) => !cancelled.includes(running));
    await this.#runtime.release(cancelled.map(({ sequence }) => sequence));
    for (const { sequence } of cancelled) this.#rows.give(sequence.rows.first);
  }

  /** Tells those who want to see it of the text so far. */
  async #show(running: readonly Running<Search, Found>[]): Promise<void> {
    const watched = running.filter(({ onTokens }) => onTokens);
    if (watched.length === 0 || this.#ended) return;
    const written = await this.#runtime.written(watched.map(({ sequence }) => sequence));
    watched.forEach(({ onTokens, reject, request }, index) => {
      if (request.signal?.aborted) return;
      try {
        onTokens!(written[index].tokens, written[index]);
      } catch (error) {
        reject(error);
      }
    });
  }
}
