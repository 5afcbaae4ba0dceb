/** A request to the engine: one transcription, whose windows take turns with those of other requests. */
import { setMaxListeners } from 'node:events';
import { refuse } from '../checks.js';

/** 'live' is served before 'interactive' (the default), which is served before 'batch', except for a bounded share. */
export type Priority = 'live' | 'interactive' | 'batch';

export const priorities = ['live', 'interactive', 'batch'] as const satisfies readonly Priority[];

/** One value for each priority. */
export const byPriority = <T>(value: (priority: Priority) => T): Record<Priority, T> => ({
  live: value('live'),
  interactive: value('interactive'),
  batch: value('batch'),
});

export interface RequestOptions {
  priority?: Priority;
  /**
   * Milliseconds from now. Among requests of one priority, an earlier deadline is served first. What still waits for
   * the device when it has passed is rejected with TIMED_OUT.
   */
  deadline?: number;
  signal?: AbortSignal;
}

/** The facts of a request that decide when it is served. */
export interface RequestFields {
  readonly priority: Priority;
  /** Milliseconds on the engine's clock; infinity if there is none. */
  readonly deadline: number;
  readonly signal?: AbortSignal;
  /**
   * The audio positions that it has been charged for. It begins at what the other requests had been charged for on
   * average when it was opened. The request with the least is served next.
   */
  served: number;
}

/**
 * The price of a window rises with the number of windows that its request has had: the first costs its positions, the
 * ninth twice as much, and none more than four times as much. So a long recording beside a stream of clips gets what
 * the clips leave, rather than an equal share, which would make the clips wait.
 */
const windowsUntilDouble = 8;
const highestPrice = 4;

export class EngineRequest implements RequestFields {
  readonly priority: Priority;
  readonly deadline: number;
  readonly signal?: AbortSignal;
  served: number;
  #windows = 0;
  readonly #close: () => void;

  /** @internal */
  constructor({ priority, deadline, signal, served }: RequestFields, close: () => void = () => {}) {
    this.priority = priority;
    this.deadline = deadline;
    this.signal = signal;
    // Each window and search under way adds a listener.
    if (signal) setMaxListeners(0, signal);
    this.served = served;
    this.#close = close;
  }

  /** A part of this request that can be cancelled by itself. It is not counted as a request and need not be closed. */
  part(signal: AbortSignal): EngineRequest {
    return new EngineRequest({ priority: this.priority, deadline: this.deadline, served: this.served, signal });
  }

  /** Charges the request for a window of so many audio positions. */
  charge(positions: number): void {
    this.served += positions * Math.min(highestPrice, 1 + this.#windows / windowsUntilDouble);
    this.#windows += 1;
  }

  /** Ends the request: no more windows follow. */
  close(): void {
    this.#close();
  }
}

/** Throws OneheadError INVALID_ARGUMENT. */
export function checkRequest({ priority, deadline }: RequestOptions): void {
  if (priority !== undefined && !priorities.includes(priority)) {
    refuse('priority', "'live', 'interactive' or 'batch'", priority);
  }
  if (deadline !== undefined && !(typeof deadline === 'number' && deadline > 0)) {
    refuse('deadline', 'milliseconds above 0', deadline);
  }
}
