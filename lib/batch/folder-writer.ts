/** Writes files on a separate thread. All waiting files are written together, which needs fewer messages and syncs. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { packageRoot } from '../package-root.js';
import { deserializeError } from '../workers/errors.js';
import { type FileWrite, type WriteResult, writeFiles } from './file-writes.js';

interface PendingWrite {
  write: FileWrite;
  resolve(created: boolean): void;
  reject(error: unknown): void;
}

/** The compiled thread. */
const entry = () => pathToFileURL(join(packageRoot(), 'dist', 'batch', 'file-write-thread.js'));

export class FolderWriter {
  #thread: Worker | null = null;
  /** False if threads are not available; then files are written on the calling thread. */
  #usable = true;
  #waiting: PendingWrite[] = [];
  #running: PendingWrite[] = [];
  /** Folders known to exist. */
  readonly #folders = new Set<string>();

  /** Resolves to false if `exclusive` is set and the file exists. Rejects with the system's error. */
  write(write: FileWrite): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ write, resolve, reject });
      // Deferred, so that further requests of this iteration of the event loop are written together.
      if (this.#waiting.length === 1 && this.#running.length === 0) setImmediate(() => this.#next());
    });
  }

  #next(): void {
    if (this.#waiting.length === 0 || this.#running.length > 0) return;
    [this.#running, this.#waiting] = [this.#waiting, []];
    const writes = this.#running.map(({ write }) => write);
    const thread = this.#startThread();
    if (thread === null) {
      this.#settle(writeFiles(writes, this.#folders));
      return;
    }
    thread.ref();
    thread.postMessage(writes);
  }

  #startThread(): Worker | null {
    if (this.#thread || !this.#usable) return this.#thread;
    try {
      const thread = new Worker(entry(), { execArgv: [], name: 'onehead results' });
      const onEnd = (error: Error) => {
        if (this.#thread !== thread) return;
        this.#thread = null;
        this.#fail(error);
      };
      thread.on('message', (results: WriteResult[]) => {
        thread.unref();
        this.#settle(results);
      });
      thread.on('error', onEnd);
      thread.on('exit', () => onEnd(new Error('the thread that writes files has ended')));
      thread.unref();
      this.#thread = thread;
    } catch {
      this.#usable = false;
    }
    return this.#thread;
  }

  #settle(results: readonly WriteResult[]): void {
    const finished = this.#running;
    this.#running = [];
    finished.forEach(({ resolve, reject }, index) => {
      const result = results[index];
      if (typeof result === 'boolean') resolve(result);
      else reject(deserializeError(result));
    });
    this.#next();
  }

  #fail(error: Error): void {
    const failed = this.#running;
    this.#running = [];
    for (const { reject } of failed) reject(error);
    this.#next();
  }

  /** Ends the thread. Files that are being written are rejected. */
  close(): void {
    const thread = this.#thread;
    this.#thread = null;
    this.#fail(new Error('the folder was closed'));
    void thread?.terminate();
  }
}
