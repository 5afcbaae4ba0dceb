/** What an engine is asked for, and what it keeps of it. */
import type { EngineRequest } from './request.js';
import type { Rows, Sequence, Slot, Written } from './runtime.js';
import type { Waiting } from './waiting.js';

export interface SearchOptions {
  /** Called now and then with the tokens so far. */
  onTokens?: (tokens: number[], written: Written) => void;
  /** The part of the window's audio positions that is attended to; all unless given. */
  part?: { begin: number; positions: number };
}

/**
 * A window whose keys and values are in a slot, or will be before its searches begin. It holds the slot until it is
 * closed.
 */
export interface EncodedWindow<Search, Found> {
  readonly slot: Slot;
  /** Milliseconds that encoding took on the device, once it has been done. */
  readonly encodeTime: number;
  /** Milliseconds so far in which nothing was done for the window, since it waited for a slot or for rows. */
  readonly waited: number;
  /** Decodes the window. Rejects with the reason of the request's signal within one step of its abort. */
  search(search: Search, options?: SearchOptions): Promise<Found>;
  /** Runs `work` with `count` free rows. All that it asks of the device it must ask at once. */
  withRows<T>(count: number, work: (rows: Rows, slot: Slot) => Promise<T>): Promise<T>;
  close(): void;
}

/** Something that waits: it begins, or is rejected. */
export interface Task extends Waiting {
  reject(error: unknown): void;
}

export interface EncodeTask<Window, Search, Found> extends Task {
  readonly window: Window;
  readonly positions: number;
  resolve(window: EncodedWindow<Search, Found>): void;
}

export interface RowTask extends Task {
  readonly count: number;
  /** Takes the rows to work. */
  begin(rows: Rows): void;
}

/** How long a window waits: from when nothing of it runs until something does. */
export class Waits {
  total: number;
  #waiting = 0;
  #running = 0;
  #since = 0;

  constructor(total: number) {
    this.total = total;
  }

  enter(now: number): void {
    if (this.#waiting === 0 && this.#running === 0) this.#since = now;
    this.#waiting += 1;
  }

  begin(now: number): void {
    if (this.#running === 0) this.total += now - this.#since;
    this.#waiting -= 1;
    this.#running += 1;
  }

  end(now: number): void {
    this.#running -= 1;
    if (this.#running === 0) this.#since = now;
  }
}

export interface Running<Search, Found> {
  readonly request: EngineRequest;
  readonly waits: Waits;
  readonly sequence: Sequence<Search>;
  readonly onTokens?: SearchOptions['onTokens'];
  /** Set where it has been rejected, though its request goes on. */
  abandoned?: boolean;
  /** Steps that it has been given. */
  steps: number;
  resolve(found: Found): void;
  reject(error: unknown): void;
}
