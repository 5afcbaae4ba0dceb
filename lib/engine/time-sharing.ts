/** How the device's time is shared between encoding windows and decoding the rows of the batch. */
import { Costs } from './costs.js';

export interface EngineLimits {
  /** Milliseconds of encoding after which the rows of the batch have a turn. */
  encodeTime: number;
  /** Decoder steps of such a turn. */
  stepsBetweenEncodes: number;
  /** Maximum steps of one run. A new request or a cancellation ends a run early. */
  stepsPerRun: number;
  /** Maximum steps of one run while a caller receives the text so far. */
  stepsPerLook: number;
  /**
   * Weight of the time that later requests save in a larger batch, against finishing the current rows early. Default:
   * 4; 1 if windows are encoded together, since those that wait then save time too.
   */
  batching: number;
}

const defaultLimits: EngineLimits = {
  encodeTime: 250,
  stepsBetweenEncodes: 16,
  stepsPerRun: 256,
  stepsPerLook: 8,
  batching: 4,
};

export class TimeSharing {
  readonly #limits: EngineLimits;
  readonly #costs = new Costs();
  /** Milliseconds of encoding since the batch had its last turn. */
  #encoded = 0;
  /** Steps since the last encoding. */
  #steps = 0;

  constructor(limits: Partial<EngineLimits>, encodesTogether: boolean) {
    this.#limits = { ...defaultLimits, ...(encodesTogether && { batching: 1 }), ...limits };
  }

  /** Counts an encoding of so many windows. */
  encoded(milliseconds: number, windows: number): void {
    this.#encoded += milliseconds;
    this.#steps = 0;
    this.#costs.encoded(milliseconds / windows);
  }

  /** Counts steps of so many rows. */
  stepped(milliseconds: number, steps: number, rows: number): void {
    if (steps > 0) this.#costs.stepped(milliseconds, steps, rows);
    this.#steps += steps;
    if (this.#steps >= this.#limits.stepsBetweenEncodes) this.#encoded = 0;
  }

  /** Counts a search that has ended after so many steps. */
  ended(steps: number): void {
    this.#costs.ended(steps);
  }

  /** True if the next encoding comes before more steps of the batch, which has so many rows. */
  encodesNext(rows: number, waitingWindows: number): boolean {
    const { encodeTime, stepsBetweenEncodes, batching } = this.#limits;
    const batchHasTurn = this.#encoded >= encodeTime && this.#steps < stepsBetweenEncodes;
    if (rows > 0 && batchHasTurn) return false;
    return this.#costs.encodesFirst(rows, waitingWindows, batching);
  }

  /**
   * Maximum steps of the next run, and of the run queued behind it. While a window waits, the next run ends with the
   * batch's turn. `stepsToLook`: the number of steps after which a caller wants the text so far.
   */
  runs(windowWaits: boolean, stepsToLook: number): { next: number; behind: number } {
    const { stepsBetweenEncodes, stepsPerRun, stepsPerLook } = this.#limits;
    const longest = Math.min(stepsPerRun, Math.max(stepsPerLook, stepsToLook));
    const leftOfTurn = Math.max(1, stepsBetweenEncodes - this.#steps);
    return { next: windowWaits ? Math.min(leftOfTurn, longest) : longest, behind: longest };
  }
}
