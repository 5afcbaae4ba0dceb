/** The engines of one model on several devices. Each window goes to the least loaded. */
import { OneheadError } from '../errors.js';
import type { Engine } from './engine.js';
import { type EngineFigures, publish, sumFigures } from './figures.js';
import { checkRequest, EngineRequest, type RequestOptions } from './request.js';

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

  figures(): EngineFigures & { requests: number; engines: EngineFigures[] } {
    const engines = this.#engines.map((engine) => engine.figures());
    return { requests: this.#open, ...sumFigures(engines), engines };
  }

  close(error?: unknown): void {
    for (const engine of this.#engines) engine.close(error);
  }
}
