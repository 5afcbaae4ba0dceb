/** The windows and searches that callers request from an engine, while they wait and while they run. */
import type { EngineRequest } from './request.js';
import type { Rows, Sequence, Slot, Submitted, Written } from './runtime.js';
import type { Waiting } from './waiting.js';

export interface SearchOptions<Result = unknown> {
  /** Called from time to time with the tokens so far. */
  onTokens?: (tokens: number[], written: Written) => void;
  /** Called after `onTokens`. A result that it returns ends the search. */
  until?: (written: Written) => Result | undefined;
  /** The number of steps before which neither is called; 0 unless given. */
  watchFrom?: number;
  /** The range of the window's audio positions that is attended to; all unless given. */
  part?: { begin: number; positions: number };
}

/** The encoding of a window, which others may share. */
export interface Encoding {
  /** Milliseconds on the device; 0 until it has ended. */
  time: number;
  /** Why it failed; its searches are rejected with this error. */
  failure?: { error: unknown };
}

/**
 * A window that is encoded, or will be before its searches start. It keeps its slot until `close`.
 */
export interface EncodedWindow<Search, Result> {
  readonly slot: Slot;
  /** Milliseconds that encoding took on the device; 0 until it has ended. */
  readonly encodeTime: number;
  /** Milliseconds so far during which the window waited for a slot or for rows and none of its searches ran. */
  readonly waited: number;
  /** Decodes the window. Rejects with the reason of the request's signal within one step of its abort. */
  search(search: Search, options?: SearchOptions<Result>): Promise<Result>;
  /** Calls `work` with `count` free rows, which are free for others as soon as it returns. */
  withRows<T>(count: number, work: (rows: Rows, slot: Slot) => Submitted<T>): Promise<T>;
  close(): void;
}

/** A promise to a caller that has not been settled. */
export interface Task extends Waiting {
  reject(error: unknown): void;
}

/** A window that waits for a slot. */
export interface EncodeTask<Window, Search, Result> extends Task {
  readonly window: Window;
  readonly positions: number;
  resolve(window: EncodedWindow<Search, Result>): void;
}

/** Something that waits for rows. */
export interface RowTask extends Task {
  readonly count: number;
  readonly encoding: Encoding;
  /** Called with the rows once they are allocated. */
  begin(rows: Rows): void;
}

/** A search that has rows. */
export interface RunningSearch<Search, Result> {
  readonly request: EngineRequest;
  readonly encoding: Encoding;
  readonly waitTime: WaitTime;
  readonly sequence: Sequence<Search>;
  readonly onTokens?: SearchOptions<Result>['onTokens'];
  readonly until?: SearchOptions<Result>['until'];
  readonly watchFrom: number;
  /** True if it was settled before its end: its request may go on. */
  isAbandoned?: boolean;
  /** The number of steps that were done since it joined the batch. */
  steps: number;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

/**
 * Adds up how long a window waits, in milliseconds. A window with several searches waits only while none of them runs.
 */
export class WaitTime {
  total: number;
  #waiting = 0;
  #running = 0;
  #since = 0;

  /** @param total Milliseconds that the window waited for its slot. */
  constructor(total: number) {
    this.total = total;
  }

  /** A search begins to wait for rows. */
  enter(now: number): void {
    if (this.#waiting === 0 && this.#running === 0) this.#since = now;
    this.#waiting += 1;
  }

  /** A search that waited has rows. */
  begin(now: number): void {
    if (this.#running === 0) this.total += now - this.#since;
    this.#waiting -= 1;
    this.#running += 1;
  }

  /** A search has ended. */
  end(now: number): void {
    this.#running -= 1;
    if (this.#running === 0) this.#since = now;
  }
}
