/**
 * The scheduler of one device. Windows are encoded as slots become free; searches join the running batch at any step
 * and leave it when they end. The next work is submitted before the last has ended, so that the device does not wait
 * for the host.
 */
import { OneheadError } from '../errors.js';
import { Admission, type Admitted } from './admission.js';
import { Batch } from './batch.js';
import { CallerJobs } from './caller-jobs.js';
import { type EngineFailure, type EngineFigures, publish } from './figures.js';
import type { EngineOptions } from './options.js';
import type { EngineRequest } from './request.js';
import type { Rows, Runtime, Slot, Submitted, Work } from './runtime.js';
import { type EncodedWindow, type Encoding, type RunningSearch, type SearchOptions, WaitTime } from './tasks.js';
import { TimeSharing } from './time-sharing.js';

/** Resolves after the event loop has run what is ready: callers handle their results, signals abort. */
const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

export class Engine<Window, Search, Result> {
  readonly #device: string;
  readonly #runtime: Runtime<Window, Search, Result>;
  readonly #now: () => number;
  readonly #admission: Admission<Window, Search, Result>;
  readonly #batch: Batch<Search, Result>;
  readonly #sharing: TimeSharing;
  readonly #callers: CallerJobs;
  /** Searches that have rows and join the batch next. */
  #starting: RunningSearch<Search, Result>[] = [];
  /**
   * The number of encodings that are submitted and have not ended: at most one, unless several windows together were
   * refused.
   */
  #encodings = 0;
  /** True if a window waited for the batch's turn to end when the loop last ran. */
  #windowWaits = false;
  #isActive = false;
  /** When the loop became active. */
  #activeSince = 0;
  /** True if the loop has to run once more before it waits. */
  #hasChanged = false;
  #resume: (() => void) | null = null;
  /** The error of later calls, once the engine has ended. */
  #endedBy: unknown = null;
  /** Set if it has ended by itself. */
  #failure: EngineFailure | null = null;
  readonly #counts = { windows: 0, audioPositions: 0, cancelled: 0, fallbacks: 0, encodedAgain: 0 };
  readonly #time = { encode: 0, decode: 0, active: 0 };

  constructor(
    runtime: Runtime<Window, Search, Result>,
    { device = '', now = () => performance.now(), limits = {} }: EngineOptions = {},
  ) {
    this.#device = device;
    this.#runtime = runtime;
    this.#now = now;
    this.#sharing = new TimeSharing(limits, this.encodesTogether);
    this.#callers = new CallerJobs({ changed: () => this.#wake(), failed: (error) => this.#failed(error) });
    this.#admission = new Admission(runtime.positions, runtime.rows, {
      now,
      changed: () => this.#wake(),
      cancelled: () => {
        this.#counts.cancelled += 1;
        publish({ event: 'cancelled' });
      },
    });
    this.#batch = new Batch(runtime, this.#admission.rows, {
      now,
      worked: (milliseconds, steps, rows) => {
        this.#time.decode += milliseconds;
        this.#sharing.stepped(milliseconds, steps, rows);
      },
      ended: (steps) => this.#sharing.ended(steps),
      changed: () => this.#wake(),
      ran: () => this.#submitAtOnce(),
      failed: (error) => this.#failed(error),
    });
  }

  /** True if windows of one length may be encoded together. */
  get encodesTogether(): boolean {
    return this.#runtime.encodeBatch > 1;
  }

  /** The initial `EngineRequest.served` of a new request. */
  get served(): number {
    return this.#admission.served;
  }

  /** True once it has failed or was closed: every call is rejected. */
  get hasEnded(): boolean {
    return this.#endedBy !== null;
  }

  /** Work that is under way or waits, as a share of what fits at once. */
  get load(): number {
    return this.#admission.load;
  }

  /**
   * Encodes a window. Resolves when it has a slot and its encoding has been submitted: searches may be requested at
   * once. Rejects with the reason of the request's signal, with TIMED_OUT if the deadline passes first, with DISPOSED
   * or the device's error if the engine has ended.
   */
  async encode(request: EngineRequest, window: Window): Promise<EncodedWindow<Search, Result>> {
    const positions = this.#runtime.positionsOf(window);
    if (this.#endedBy) throw this.#endedBy;
    return this.#admission.wait(request, (task) => {
      const waiting = { ...task, window, positions };
      this.#admission.windows.add(waiting);
      return () => this.#admission.windows.remove(waiting);
    });
  }

  /** Throws OneheadError INVALID_ARGUMENT if a search needs more rows than exist. */
  checkRows(count: number): void {
    this.#admission.checkRows(count);
  }

  /**
   * Calls `work` before anything else that waits is submitted. If `work` submits all of its device work before it first
   * waits, no other work runs in between.
   */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    if (this.#endedBy) return Promise.reject(this.#endedBy);
    const done = this.#callers.add(work);
    this.#wake();
    return done;
  }

  /** Counts a window that is decoded again at a higher temperature. */
  countFallback(): void {
    this.#counts.fallbacks += 1;
  }

  /** Counts a window that is encoded again whole. */
  countEncodedAgain(): void {
    this.#counts.encodedAgain += 1;
  }

  figures(): EngineFigures {
    const { positions, rows, waiting } = this.#admission;
    const { encode, decode } = this.#time;
    const active = this.#time.active + (this.#isActive ? this.#now() - this.#activeSince : 0);
    return {
      failure: this.#failure,
      waiting,
      positions: { used: positions.used, total: positions.size },
      rows: { used: rows.used, total: rows.size },
      ...this.#counts,
      ...this.#batch.counts,
      time: { encode, decode, host: Math.max(0, active - encode - decode) },
    };
  }

  /** Rejects everything that is under way or waits. */
  close(error: unknown = new OneheadError('DISPOSED', 'This model has been disposed; load it again.')): void {
    if (this.#endedBy) return;
    this.#endedBy = error;
    this.#callers.close(error);
    this.#admission.close(error);
    this.#batch.close(error);
    for (const { reject } of this.#starting) reject(error);
    this.#starting = [];
    this.#wake();
  }

  /** Ends the engine if the device is lost. */
  #failed(error: unknown): void {
    if (this.#runtime.isLost(error)) this.#fail(error);
  }

  #fail(error: unknown): void {
    if (this.#endedBy) return;
    const { code = 'DEVICE_FAILED' } = error as Partial<OneheadError>;
    this.#failure = { code, message: error instanceof Error ? error.message : String(error) };
    publish({ event: 'failed', device: this.#device, failure: this.#failure });
    this.close(error);
  }

  /** Makes the loop run once more. */
  #wake(): void {
    this.#hasChanged = true;
    if (this.#isActive) {
      this.#resume?.();
      this.#resume = null;
    } else if (!this.#endedBy) {
      this.#isActive = true;
      this.#activeSince = this.#now();
      void this.#loop();
    }
  }

  async #loop(): Promise<void> {
    while (!this.#endedBy) {
      await nextTurn();
      if (this.#endedBy) break;
      this.#hasChanged = false;
      this.#tryToSubmit();
      if (this.#hasChanged || this.#endedBy) continue;
      const isIdle = this.#encodings === 0 && this.#callers.isIdle && this.#batch.isIdle;
      if (isIdle && this.#batch.isEmpty) break;
      await new Promise<void>((resolve) => {
        this.#resume = resolve;
      });
    }
    this.#time.active += this.#now() - this.#activeSince;
    this.#isActive = false;
  }

  /** Submits the next work before callers handle the results of the last run, and once more after they have. */
  #submitAtOnce(): void {
    if (!this.#endedBy) this.#tryToSubmit();
    this.#wake();
  }

  #tryToSubmit(): void {
    try {
      this.#submit();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Submits to the device what can be done now. */
  #submit(): void {
    this.#admission.rejectLate();
    this.#batch.dropAbandoned();
    if (this.#callers.areWaiting) this.#batch.pause();
    this.#callers.submit();
    this.#startSearches();
    // Searches of the windows that are encoded now come in the next turn. Steps are submitted then.
    if (this.#encodeNext() || this.#endedBy) return;
    const windowWaits = this.#encodings === 0 && this.#admission.nextWindow() !== undefined;
    // Runs that were submitted while no window waited may be longer than the batch's turn.
    if (windowWaits && !this.#windowWaits) this.#batch.pause();
    this.#windowWaits = windowWaits;
    this.#batch.refill(this.#sharing.runs(windowWaits, this.#batch.stepsToLook));
  }

  /** Submits the next encoding, unless one is under way or the batch comes first. Returns true if it did. */
  #encodeNext(): boolean {
    if (this.#encodings > 0) return false;
    const first = this.#admission.nextWindow();
    if (!first || !this.#sharing.encodesNext(this.#batch.size, this.#admission.windows.length)) return false;
    const admitted = this.#admission.admit(first, this.#runtime.encodeBatch);
    this.#batch.pause();
    this.#encode(admitted);
    this.#hasChanged = true;
    return true;
  }

  /** Submits the encoding of windows. If the runtime refuses several, each is encoded alone. */
  #encode(admitted: readonly Admitted<Window, Search, Result>[]): void {
    const begun = this.#now();
    let encoded: Promise<Work>;
    try {
      if (this.#endedBy) throw this.#endedBy;
      encoded = this.#runtime.encode(admitted.map(({ task, slot }) => ({ window: task.window, slot })));
    } catch (error) {
      if (admitted.length > 1 && !this.#runtime.isLost(error)) {
        for (const one of admitted) this.#encode([one]);
        return;
      }
      for (const { task, slot } of admitted) {
        this.#admission.release(slot);
        task.reject(error);
      }
      this.#failed(error);
      return;
    }
    this.#encodings += 1;
    const encoding: Encoding = { time: 0 };
    const done = ({ elapsed }: Work) => {
      this.#encodings -= 1;
      encoding.time = elapsed;
      this.#time.encode += elapsed;
      this.#sharing.encoded(elapsed, admitted.length);
      const positions = admitted.reduce((sum, { slot }) => sum + slot.positions, 0);
      this.#counts.windows += admitted.length;
      this.#counts.audioPositions += positions;
      publish({ event: 'encode', windows: admitted.length, positions, elapsed });
      this.#wake();
    };
    const failed = (error: unknown) => {
      this.#encodings -= 1;
      encoding.failure = { error };
      this.#admission.rejectOf(encoding, error);
      this.#batch.rejectOf(encoding, error);
      this.#wake();
    };
    void encoded.then(done, failed);
    for (const { task, slot } of admitted) {
      const waited = begun - task.since;
      publish({ event: 'window', waited, priority: task.request.priority });
      task.resolve(this.#window({ task, slot }, encoding, new WaitTime(waited)));
    }
  }

  #window(
    { task: { request }, slot }: Admitted<Window, Search, Result>,
    encoding: Encoding,
    waitTime: WaitTime,
  ): EncodedWindow<Search, Result> {
    let isOpen = true;
    return {
      slot,
      get encodeTime() {
        return encoding.time;
      },
      get waited() {
        return waitTime.total;
      },
      search: (search, { part, ...watch } = {}) => {
        const attended = part ? { begin: slot.begin + part.begin, positions: part.positions } : slot;
        return this.#search(request, encoding, attended, waitTime, search, watch);
      },
      withRows: <T>(count: number, work: (rows: Rows, slot: Slot) => Submitted<T>) =>
        this.#withRows(request, encoding, count, (rows) => work(rows, slot)),
      close: () => {
        if (!isOpen) return;
        isOpen = false;
        this.#admission.release(slot);
        this.#wake();
      },
    };
  }

  async #search(
    request: EngineRequest,
    encoding: Encoding,
    slot: Slot,
    waitTime: WaitTime,
    search: Search,
    { watchFrom = 0, ...watch }: Omit<SearchOptions<Result>, 'part'>,
  ): Promise<Result> {
    const count = this.#runtime.rowsOf(search);
    this.#admission.checkRows(count);
    waitTime.enter(this.#now());
    return this.#waitForRows<Result>(request, encoding, count, (rows, { resolve, reject }) => {
      waitTime.begin(this.#now());
      const sequence = { rows, slot, search };
      this.#starting.push({ request, encoding, waitTime, sequence, ...watch, watchFrom, steps: 0, resolve, reject });
    });
  }

  async #withRows<T>(
    request: EngineRequest,
    encoding: Encoding,
    count: number,
    work: (rows: Rows) => Submitted<T>,
  ): Promise<T> {
    this.#admission.checkRows(count);
    return this.#waitForRows<T>(request, encoding, count, (rows, { resolve, reject }) => {
      const read = async () => {
        const submitted = work(rows);
        const result = submitted.finish(await submitted.data);
        if (encoding.failure) throw encoding.failure.error;
        return result;
      };
      this.#batch.pause();
      this.#callers.run(read, resolve, reject);
      this.#admission.rows.release(rows.first);
    });
  }

  /** Calls `begin` once the rows are allocated; it settles the returned promise. */
  #waitForRows<T>(
    request: EngineRequest,
    encoding: Encoding,
    count: number,
    begin: (rows: Rows, promise: { resolve(value: T): void; reject(error: unknown): void }) => void,
  ): Promise<T> {
    const error = this.#endedBy ?? encoding.failure?.error;
    if (error) return Promise.reject(error);
    return this.#admission.wait<T>(request, (task) => {
      const { since, reject } = task;
      const waiting = { request, encoding, since, reject, count, begin: (rows: Rows) => begin(rows, task) };
      this.#admission.searches.add(waiting);
      // A search that has begun is not in the list any more; the loop removes it from the batch.
      return () => this.#admission.searches.remove(waiting);
    });
  }

  /** Allocates rows to waiting searches and adds these to the batch. */
  #startSearches(): void {
    if (this.#batch.isStarting) return;
    const { rows, searches } = this.#admission;
    for (let next = this.#admission.nextSearch(); next; next = this.#admission.nextSearch()) {
      const first = rows.allocate(next.count)!;
      searches.serve(next);
      next.begin({ first, count: next.count });
    }
    if (this.#starting.length === 0) return;
    const started = this.#starting;
    this.#starting = [];
    this.#batch.join(started);
  }
}
