/** Writes files on a separate thread, all waiting ones together: one message for many, and few syncs of the disk. */
import { Worker } from 'node:worker_threads';
import { deserializeError } from '../workers/errors.js';
import { type Placed, type Placement, place } from './placing.js';

interface Waiting {
  placement: Placement;
  resolve(created: boolean): void;
  reject(error: unknown): void;
}

/** Compiled next to this file; in the package's dist if TypeScript runs directly. */
const entry = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/batch/placing-thread.js' : './placing-thread.js',
  import.meta.url,
);

export class FolderWriter {
  #thread: Worker | null = null;
  /** False if threads are not available: then this thread does the work. */
  #usable = true;
  #waiting: Waiting[] = [];
  #underWay: Waiting[] = [];
  readonly #made = new Set<string>();

  /** False if `once` is set and the file exists. Rejects with the system's error. */
  place(placement: Placement): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ placement, resolve, reject });
      // Further requests of this turn are written together.
      if (this.#waiting.length === 1 && this.#underWay.length === 0) setImmediate(() => this.#next());
    });
  }

  #next(): void {
    if (this.#waiting.length === 0 || this.#underWay.length > 0) return;
    [this.#underWay, this.#waiting] = [this.#waiting, []];
    const placements = this.#underWay.map(({ placement }) => placement);
    const thread = this.#running();
    if (thread === null) {
      this.#settle(place(placements, this.#made));
      return;
    }
    thread.ref();
    thread.postMessage(placements);
  }

  #running(): Worker | null {
    if (this.#thread || !this.#usable) return this.#thread;
    try {
      const thread = new Worker(entry, { execArgv: [], name: 'onehead results' });
      const lost = (error: Error) => {
        if (this.#thread !== thread) return;
        this.#thread = null;
        this.#fail(error);
      };
      thread.on('message', (results: Placed[]) => {
        thread.unref();
        this.#settle(results);
      });
      thread.on('error', lost);
      thread.on('exit', () => lost(new Error('the thread that writes ended')));
      thread.unref();
      this.#thread = thread;
    } catch {
      this.#usable = false;
    }
    return this.#thread;
  }

  #settle(results: readonly Placed[]): void {
    const told = this.#underWay;
    this.#underWay = [];
    told.forEach(({ resolve, reject }, index) => {
      const result = results[index];
      if (typeof result === 'boolean') resolve(result);
      else reject(deserializeError(result));
    });
    this.#next();
  }

  #fail(error: Error): void {
    const failed = this.#underWay;
    this.#underWay = [];
    for (const { reject } of failed) reject(error);
    this.#next();
  }

  close(): void {
    const thread = this.#thread;
    this.#thread = null;
    this.#fail(new Error('the folder was closed'));
    void thread?.terminate();
  }
}
