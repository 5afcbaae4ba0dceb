/** The engines of one model on several devices. Each window goes to the least loaded. */
import { OneheadError } from '../errors.js';
import { longestDelay } from '../timers.js';
import { deadlinePassed } from './admission.js';
import type { Engine } from './engine.js';
import { type PoolFigures, publish, sumFigures } from './figures.js';
import { byPriority, checkRequest, EngineRequest, type RequestOptions } from './request.js';
import { type Waiting, WaitingList } from './waiting.js';

export interface PoolOptions {
  /** Maximum number of open requests, waiting or running. Further requests are refused with code BUSY. */
  maximumRequests: number;
  now?: () => number;
}

/** Number of recently closed requests from which the rate of the pool is estimated. */
const maxClosed = 32;

export class Pool<Window, Search, Result> {
  readonly #engines: readonly Engine<Window, Search, Result>[];
  readonly #maximum: number;
  readonly #now: () => number;
  #open = 0;
  /** Requests that wait for anything but a device. */
  readonly #waiting = new WaitingList<Waiting>();
  /** The times at which the last requests were closed, in milliseconds. */
  readonly #closed: number[] = [];

  constructor(
    engines: readonly Engine<Window, Search, Result>[],
    { maximumRequests, now = () => performance.now() }: PoolOptions,
  ) {
    this.#engines = engines;
    this.#maximum = maximumRequests;
    this.#now = now;
  }

  /** The number of open requests. */
  get requests(): number {
    return this.#open;
  }

  /**
   * Opens a request. The caller closes it. Throws OneheadError BUSY if the pool is full (`retryAfter` is the seconds
   * after which to try again), and INVALID_ARGUMENT.
   */
  request(options: RequestOptions = {}): EngineRequest {
    checkRequest(options);
    options.signal?.throwIfAborted();
    if (this.#open >= this.#maximum) throw this.#busy();
    this.#open += 1;
    let isOpen = true;
    // A new request starts at what the open requests have been charged on average, so that it neither waits for all of
    // them nor overtakes all of them.
    const served = Math.max(...this.#engines.map((engine) => engine.served));
    const { priority = 'interactive', signal } = options;
    const deadline = options.deadline === undefined ? Number.POSITIVE_INFINITY : this.#now() + options.deadline;
    return new EngineRequest({ priority, deadline, signal, served }, () => {
      if (!isOpen) return;
      isOpen = false;
      this.#open -= 1;
      this.#closed.push(this.#now());
      if (this.#closed.length > maxClosed) this.#closed.shift();
    });
  }

  #busy(): OneheadError {
    const [first] = this.#closed;
    const seconds = this.#closed.length < 2 ? 1 : (this.#now() - first) / 1000 / (this.#closed.length - 1);
    // By then half of the open requests will have been served.
    const retryAfter = Math.max(1, Math.min(60, Math.ceil((seconds * this.#open) / 2)));
    publish({ event: 'busy', retryAfter });
    return new OneheadError(
      'BUSY',
      `${this.#open} requests are open, which is the maximum; try again in ${retryAfter} s.`,
      { retryAfter },
    );
  }

  /**
   * The engine with the least load, for the next window and its searches. Engines that have ended are left out; if all
   * have, the first one is returned, which rejects with the reason.
   */
  leastLoaded(): Engine<Window, Search, Result> {
    const running = this.#engines.filter((engine) => !engine.hasEnded);
    if (running.length === 0) return this.#engines[0];
    return running.reduce((best, engine) => (engine.load < best.load ? engine : best));
  }

  /**
   * Counts the request as waiting until the promise of `work` is settled. It waits for anything but a device. The
   * signal that `work` gets aborts with TIMED_OUT when the request's deadline passes.
   */
  async waitFor<T>(request: EngineRequest, work: (late: AbortSignal) => Promise<T>): Promise<T> {
    const waiting = { request, since: this.#now() };
    const late = new AbortController();
    const delay = Math.max(1, Math.ceil(request.deadline - this.#now()));
    const timer = delay <= longestDelay ? setTimeout(() => late.abort(deadlinePassed()), delay).unref() : undefined;
    this.#waiting.add(waiting);
    try {
      return await work(late.signal);
    } finally {
      this.#waiting.remove(waiting);
      clearTimeout(timer);
    }
  }

  figures(): PoolFigures {
    const engines = this.#engines.map((engine) => engine.figures());
    const all = sumFigures(engines);
    const calls = this.#waiting.oldest(this.#now());
    const { oldestByPriority: inEngines } = all.waiting;
    const oldestByPriority = byPriority((priority) => Math.max(inEngines[priority], calls[priority]));
    const oldestMilliseconds = Math.max(...Object.values(oldestByPriority));
    const waiting = { ...all.waiting, calls: this.#waiting.length, oldestMilliseconds, oldestByPriority };
    return { requests: this.#open, ...all, waiting, engines };
  }

  close(error?: unknown): void {
    for (const engine of this.#engines) engine.close(error);
  }
}
