/**
 * The queue of one device: many requests share one model. Windows are encoded as slots come free, searches join the
 * running batch at any step and leave at theirs. The device has its next work before the last has ended, so that it
 * does not wait for the host.
 */
import { OneheadError } from '../errors.js';
import { Admission, type Admitted } from './admission.js';
import { Batch } from './batch.js';
import { Costs } from './costs.js';
import { type EngineFigures, publish } from './figures.js';
import type { EngineRequest } from './request.js';
import type { Rows, Runtime, Slot } from './runtime.js';
import { type EncodedWindow, type Running, type SearchOptions, type Task, Waits } from './tasks.js';

/** How the device's time is shared. */
export interface EngineLimits {
  /** Milliseconds of encoding after which rows that are being decoded have their turn. */
  encodeTime: number;
  /** Steps that those rows are given then. */
  stepsBetweenEncodes: number;
  /** Steps of a run at most: a new request or a cancellation ends it early. */
  stepsPerRun: number;
  /** The same where somebody wants to see the text grow. */
  stepsPerLook: number;
  /** How much decoding many together counts against ending those soon that are being decoded. */
  batching: number;
}

const usualLimits: EngineLimits = {
  encodeTime: 250,
  stepsBetweenEncodes: 16,
  stepsPerRun: 256,
  stepsPerLook: 8,
  batching: 4,
};

/** Lets everything that is ready on the event loop happen: callers go on with what they got, signals abort. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Calls `work` and tells of its end. */
async function settle<T>(work: () => Promise<T>, resolve: (value: T) => void, reject: (error: unknown) => void) {
  try {
    resolve(await work());
  } catch (error) {
    reject(error);
  }
}

export class Engine<Window, Search, Found> {
  readonly #runtime: Runtime<Window, Search, Found>;
  readonly #now: () => number;
  readonly #limits: EngineLimits;
  readonly #admission: Admission<Window, Search, Found>;
  readonly #batch: Batch<Search, Found>;
  readonly #costs = new Costs();
  readonly #alone: { work: () => Promise<void>; reject: (error: unknown) => void }[] = [];
  #starting: Running<Search, Found>[] = [];
  /** Whether the device encodes, or will when it comes to it: one encoding is chosen when the last has ended. */
  #encoding = false;
  /** Other work that the device has not done yet. */
  #others = 0;
  /**
   * Milliseconds of encoding since the batch had its last turn, and the steps that it was given since the last
   * encoding.
   */
  #encoded = 0;
  #stepsSinceEncode = 0;
  /** Whether a window waited for the batch's turn to end when the loop last looked. */
  #isNext = false;
  #active = false;
  /** When the loop began, while it is active. */
  #began = 0;
  #changed = false;
  #goOn: (() => void) | null = null;
  #ended: unknown = null;
  readonly #counts = { windows: 0, audioPositions: 0, cancelled: 0, fallbacks: 0, encodedAgain: 0 };
  readonly #time = { encode: 0, decode: 0, busy: 0 };

  constructor(
    runtime: Runtime<Window, Search, Found>,
    { now = () => performance.now(), limits = {} }: { now?: () => number; limits?: Partial<EngineLimits> } = {},
  ) {
    this.#runtime = runtime;
    this.#now = now;
    this.#limits = { ...usualLimits, ...limits };
    this.#admission = new Admission(runtime.positions, runtime.rows, now);
    this.#batch = new Batch(runtime, this.#admission.rows, {
      now,
      worked: (milliseconds, steps, rows) => {
        this.#time.decode += milliseconds;
        if (steps > 0) this.#costs.stepped(milliseconds, steps, rows);
        this.#stepsSinceEncode += steps;
        if (this.#stepsSinceEncode >= this.#limits.stepsBetweenEncodes) this.#encoded = 0;
      },
      ended: (steps) => this.#costs.ended(steps),
      changed: () => this.#wake(),
      ran: () => this.#goOnAtOnce(),
      failed: (error) => this.#fail(error),
    });
  }

  /** What `EngineRequest.served` begins at. */
  get served(): number {
    return this.#admission.served;
  }

  /**
   * Work that is under way or waits, as a share of what fits at once: the least loaded of several engines takes the
   * next window.
   */
  get load(): number {
    return this.#admission.load;
  }

  /**
   * Gives a window a slot when one is free, and has it encoded: its searches may be asked for at once. Rejects with the
   * reason of the request's signal, with TIMED_OUT when its deadline passes first, with DISPOSED or the device's error
   * when the engine has ended.
   */
  encode(request: EngineRequest, window: Window): Promise<EncodedWindow<Search, Found>> {
    const positions = this.#runtime.positionsOf(window);
    return this.#wait(request, (task) => {
      const waiting = { ...task, window, positions };
      this.#admission.windows.add(waiting);
      return () => this.#admission.windows.remove(waiting);
    });
  }

  /**
   * Runs `work` before any other that waits. All that it asks of the device it must ask at once, or nothing stays
   * between.
   */
  alone<T>(work: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      this.#alone.push({ work: () => settle(work, resolve, reject), reject });
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
    const { positions, rows, waiting } = this.#admission;
    const { encode, decode } = this.#time;
    const busy = this.#time.busy + (this.#active ? this.#now() - this.#began : 0);
    return {
      waiting,
      positions: { used: positions.used, total: positions.size },
      rows: { used: rows.used, total: rows.size },
      ...this.#counts,
      ...this.#batch.counts,
      time: { encode, decode, host: Math.max(0, busy - encode - decode) },
    };
  }

  /** Rejects everything that is under way or waits. */
  close(error: unknown = new OneheadError('DISPOSED', 'This model has been disposed; load it again.')): void {
    if (this.#ended) return;
    this.#ended = error;
    for (const { reject } of this.#alone.splice(0)) reject(error);
    this.#admission.close(error);
    this.#batch.close(error);
    for (const { reject } of this.#starting) reject(error);
    this.#starting = [];
    this.#wake();
  }

  #fail(error: unknown): void {
    if (this.#ended) return;
    publish({ event: 'failed', error });
    this.close(error);
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
        this.#wake();
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#wake();
    });
  }

  /** Lets the loop look at what has changed. */
  #wake(): void {
    this.#changed = true;
    if (this.#active) {
      this.#goOn?.();
      this.#goOn = null;
    } else if (!this.#ended) {
      this.#active = true;
      this.#began = this.#now();
      void this.#loop();
    }
  }

  async #loop(): Promise<void> {
    while (!this.#ended) {
      await turn();
      if (this.#ended) break;
      this.#changed = false;
      this.#tryToAdmit();
      if (this.#changed || this.#ended) continue;
      if (!this.#encoding && this.#others === 0 && this.#batch.idle && this.#batch.empty) break;
      await new Promise<void>((resolve) => {
        this.#goOn = resolve;
      });
    }
    this.#time.busy += this.#now() - this.#began;
    this.#active = false;
  }

  /**
   * Gives the device its next work before those whose searches have ended make something of them, and looks again when
   * they have.
   */
  #goOnAtOnce(): void {
    if (!this.#ended) this.#tryToAdmit();
    this.#wake();
  }

  #tryToAdmit(): void {
    try {
      this.#admit();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Gives the device what it can do now. */
  #admit(): void {
    this.#admission.rejectLate();
    this.#batch.dropAbandoned();
    for (const { work } of this.#alone.splice(0)) {
      this.#batch.pause();
      this.#during(work());
    }
    this.#start();
    // The searches of what is encoded now are here in the next turn, before the steps are asked for.
    if (this.#encode()) return;
    const { stepsBetweenEncodes, stepsPerRun, stepsPerLook } = this.#limits;
    const longest = this.#batch.isWatched ? stepsPerLook : stepsPerRun;
    const least = Math.max(1, stepsBetweenEncodes - this.#stepsSinceEncode);
    const isNext = !this.#encoding && this.#admission.nextWindow() !== undefined;
    // A run that was begun when nothing waited is longer than the batch's turn.
    if (isNext && !this.#isNext) this.#batch.pause();
    this.#isNext = isNext;
    this.#batch.refill(isNext ? Math.min(least, longest) : longest, longest);
  }

  /** Work that is a caller's own: he is told of its errors. */
  #during(work: Promise<void>): void {
    this.#others += 1;
    void work.then(() => {
      this.#others -= 1;
      this.#wake();
    });
  }

  /** Has the next windows encoded, unless the batch must have its turn first. True where it did. */
  #encode(): boolean {
    if (this.#encoding) return false;
    const { encodeTime, stepsBetweenEncodes, batching } = this.#limits;
    const hasTurn = this.#encoded >= encodeTime && this.#stepsSinceEncode < stepsBetweenEncodes;
    if (!this.#batch.empty && hasTurn) return false;
    const first = this.#admission.nextWindow();
    if (!first || !this.#costs.encodesFirst(this.#batch.size, this.#admission.windows.length, batching)) return false;
    const admitted = this.#admission.takeTogether(first, this.#runtime.encodeBatch);
    this.#batch.pause();
    this.#encoding = true;
    const begun = this.#now();
    const work = { time: 0 };
    const encoded = this.#runtime.encode(admitted.map(({ task, slot }) => ({ window: task.window, slot })));
    encoded
      .then(({ elapsed }) => {
        work.time = elapsed;
        this.#encoding = false;
        this.#time.encode += elapsed;
        this.#encoded += elapsed;
        this.#costs.encoded(elapsed);
        this.#stepsSinceEncode = 0;
        const positions = admitted.reduce((sum, { slot }) => sum + slot.positions, 0);
        this.#counts.windows += admitted.length;
        this.#counts.audioPositions += positions;
        publish({ event: 'encode', windows: admitted.length, positions, elapsed });
        this.#wake();
      })
      .catch((error: unknown) => this.#fail(error));
    for (const { task, slot } of admitted) {
      const waited = begun - task.since;
      publish({ event: 'window', waited, priority: task.request.priority });
      task.resolve(this.#window({ task, slot }, work, new Waits(waited)));
    }
    this.#changed = true;
    return true;
  }

  #window(
    { task: { request }, slot }: Admitted<Window, Search, Found>,
    work: { time: number },
    waits: Waits,
  ): EncodedWindow<Search, Found> {
    let open = true;
    return {
      slot,
      get encodeTime() {
        return work.time;
      },
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
        this.#admission.giveBack(slot);
        this.#wake();
      },
    };
  }

  async #search(
    request: EngineRequest,
    slot: Slot,
    waits: Waits,
    search: Search,
    onTokens?: SearchOptions['onTokens'],
  ): Promise<Found> {
    const count = this.#runtime.rowsOf(search);
    this.#admission.checkRows(count);
    waits.enter(this.#now());
    return this.#wait<Found>(request, ({ resolve, reject, ...task }) => {
      const begin = (rows: Rows) => {
        waits.begin(this.#now());
        this.#starting.push({ request, waits, sequence: { rows, slot, search }, onTokens, steps: 0, resolve, reject });
      };
      const waiting = { ...task, reject, count, begin };
      this.#admission.searches.add(waiting);
      // What runs already is taken out of the batch when the loop comes to it.
      return () => this.#admission.searches.remove(waiting);
    });
  }

  async #withRows<T>(request: EngineRequest, count: number, work: (rows: Rows) => Promise<T>): Promise<T> {
    this.#admission.checkRows(count);
    return this.#wait<T>(request, ({ resolve, reject, ...task }) => {
      const begin = (rows: Rows) => {
        this.#batch.pause();
        this.#during(settle(() => work(rows), resolve, reject));
        this.#admission.rows.give(rows.first);
      };
      const waiting = { ...task, reject, count, begin };
      this.#admission.searches.add(waiting);
      return () => this.#admission.searches.remove(waiting);
    });
  }

  /** Gives free rows to searches that wait, and starts these. */
  #start(): void {
    if (this.#batch.isStarting) return;
    const { rows, searches } = this.#admission;
    for (let next = this.#admission.nextSearch(); next; next = this.#admission.nextSearch()) {
      const first = rows.take(next.count)!;
      searches.remove(next);
      next.begin({ first, count: next.count });
    }
    if (this.#starting.length === 0) return;
    this.#batch.join(this.#starting);
    this.#starting = [];
  }
}
