/** Who asks: one transcription, whose windows take turns with those of others. */
import { setMaxListeners } from 'node:events';
import { OneheadError } from '../errors.js';

/**
 * 'live' goes before 'interactive' (the default), which goes before 'batch'. Waiting raises a request to the class
 * above it.
 */
export type Priority = 'live' | 'interactive' | 'batch';

export const priorities = ['live', 'interactive', 'batch'] as const satisfies readonly Priority[];

export interface RequestOptions {
  priority?: Priority;
  /**
   * Milliseconds from now. Among equals an earlier deadline goes first; what still waits when it has passed is given
   * up.
   */
  deadline?: number;
  signal?: AbortSignal;
}

/** What the engine knows of a request. */
export interface RequestFields {
  readonly priority: Priority;
  /** On the engine's clock, in milliseconds. */
  readonly deadline: number;
  readonly signal?: AbortSignal;
  /**
   * Audio positions that it was charged for, from what others had been charged when it came on: who has least is next.
   */
  served: number;
}

/**
 * A window is charged more for, the more windows a request has had: one time for the first, two times for the ninth,
 * four times at most. Beside clips that come all the time a long recording so gets what these leave rather than an
 * equal share, which would make them a queue.
 */
const windowsForOneMore = 8;
const mostCharged = 4;

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
    // One for each window and search that is under way.
    if (signal) setMaxListeners(0, signal);
    this.served = served;
    this.#close = close;
  }

  /** A part of this request that may be given up by itself. It is not counted, and need not be closed. */
  part(signal: AbortSignal): EngineRequest {
    return new EngineRequest({ priority: this.priority, deadline: this.deadline, served: this.served, signal });
  }

  /** Counts a window of so many audio positions. */
  charge(positions: number): void {
    this.served += positions * Math.min(mostCharged, 1 + this.#windows / windowsForOneMore);
    this.#windows += 1;
  }

  /** Tells the engine that nothing more is asked. */
  close(): void {
    this.#close();
  }
}

/** Throws OneheadError INVALID_ARGUMENT. */
export function checkRequest({ priority, deadline }: RequestOptions): void {
  if (priority !== undefined && !priorities.includes(priority)) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `Expected priority to be 'live', 'interactive' or 'batch' but received ${JSON.stringify(priority)}.`,
      { argument: 'priority' },
    );
  }
  if (deadline !== undefined && !(typeof deadline === 'number' && deadline > 0)) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `Expected deadline to be milliseconds above 0 but received ${deadline}.`,
      { argument: 'deadline' },
    );
  }
}
