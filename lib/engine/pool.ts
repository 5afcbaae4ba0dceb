/** The engines of one model on several devices. Each window goes to the least loaded. */
import { OneheadError } from '../errors.js';
import type { Engine } from './engine.js';
import { type EngineFigures, publish, sumFigures } from './figures.js';
import { checkRequest, EngineRequest, type RequestOptions } from './request.js';

export interface PoolOptions {
  /** The most open requests, waiting and served. One more is refused with code BUSY. */
  maximumRequests: number;
  now?: () => number;
}

/** The number of closed requests that tell how fast the pool is. */
const remembered = 32;

export class Pool<Window, Search, Result> {
  readonly #engines: readonly Engine<Window, Search, Result>[];
  readonly #maximum: number;
  readonly #now: () => number;
  #open = 0;
  /** When each of the last requests was closed. */
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
    // A new request begins at what those under way have been charged for: it neither waits for all of them nor goes
    // before all of them.
    const served = Math.max(...this.#engines.map((engine) => engine.served));
    const { priority = 'interactive', signal } = options;
    const deadline = options.deadline === undefined ? Number.POSITIVE_INFINITY : this.#now() + options.deadline;
    return new EngineRequest({ priority, deadline, signal, served }, () => {
      if (!isOpen) return;
      isOpen = false;
      this.#open -= 1;
      this.#closed.push(this.#now());
      if (this.#closed.length > remembered) this.#closed.shift();
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
      `${this.#open} requests are open already, which is as many as may be; try again in ${retryAfter} s.`,
      { retryAfter },
    );
  }

  /** The engine with the least load, for the next window and its searches. */
  leastLoaded(): Engine<Window, Search, Result> {
    return this.#engines.reduce((best, engine) => (engine.load < best.load ? engine : best));
  }

  figures(): EngineFigures & { requests: number; engines: EngineFigures[] } {
    const engines = this.#engines.map((engine) => engine.figures());
    return { requests: this.#open, ...sumFigures(engines), engines };
  }

  close(error?: unknown): void {
    for (const engine of this.#engines) engine.close(error);
  }
}
