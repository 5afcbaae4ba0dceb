/** Several devices with one model: each window goes to the one with the least to do. */
import { OneheadError } from '../errors.js';
import type { Engine } from './engine.js';
import { type EngineFigures, publish, sumFigures } from './figures.js';
import { checkRequest, EngineRequest, type RequestOptions } from './request.js';

export interface PoolOptions {
  /** Requests at once, those that are served included; one more is refused with code BUSY. */
  maximumRequests: number;
  now?: () => number;
}

/** Windows whose times tell how fast the pool works now. */
const remembered = 32;

export class Pool<Window, Search, Found> {
  readonly #engines: readonly Engine<Window, Search, Found>[];
  readonly #maximum: number;
  readonly #now: () => number;
  #open = 0;
  /** When the last requests were closed. */
  readonly #closed: number[] = [];

  constructor(
    engines: readonly Engine<Window, Search, Found>[],
    { maximumRequests, now = () => performance.now() }: PoolOptions,
  ) {
    this.#engines = engines;
    this.#maximum = maximumRequests;
    this.#now = now;
  }

  /** Requests that are open. */
  get requests(): number {
    return this.#open;
  }

  /**
   * Opens a request, to be closed by whoever opened it. Throws OneheadError BUSY, with the seconds after which to come
   * again, when there are as many as may be, and INVALID_ARGUMENT.
   */
  request(options: RequestOptions = {}): EngineRequest {
    checkRequest(options);
    options.signal?.throwIfAborted();
    if (this.#open >= this.#maximum) throw this.#busy();
    this.#open += 1;
    let open = true;
    // A new request begins where the one that was served last stands, so that it neither waits for all nor goes before
    // all.
    const served = Math.max(...this.#engines.map((engine) => engine.served));
    const { priority = 'interactive', signal } = options;
    const deadline = options.deadline === undefined ? Number.POSITIVE_INFINITY : this.#now() + options.deadline;
    return new EngineRequest({ priority, deadline, signal, served }, () => {
      if (!open) return;
      open = false;
      this.#open -= 1;
      this.#closed.push(this.#now());
      if (this.#closed.length > remembered) this.#closed.shift();
    });
  }

  #busy(): OneheadError {
    const [first] = this.#closed;
    const seconds = this.#closed.length < 2 ? 1 : (this.#now() - first) / 1000 / (this.#closed.length - 1);
    // When half of those that are open will have been served.
    const retryAfter = Math.max(1, Math.min(60, Math.ceil((seconds * this.#open) / 2)));
    publish({ event: 'busy', retryAfter });
    return new OneheadError(
      'BUSY',
      `${this.#open} requests are open already, which is as many as may be; try again in ${retryAfter} s.`,
      { retryAfter },
    );
  }

  /** The device that has the least to do, which takes the next window and its searches. */
  leastLoaded(): Engine<Window, Search, Found> {
    return this.#engines.reduce((least, engine) => (engine.load < least.load ? engine : least));
  }

  figures(): EngineFigures & { requests: number; engines: EngineFigures[] } {
    const engines = this.#engines.map((engine) => engine.figures());
    return { requests: this.#open, ...sumFigures(engines), engines };
  }

  close(error?: unknown): void {
    for (const engine of this.#engines) engine.close(error);
  }
}
