/** The process's pool of worker threads, for work that would block the event loop. */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { SHARE_ENV, type Transferable, Worker } from 'node:worker_threads';
import { OneheadError, reasonOf } from '../errors.js';
import { packageRoot } from '../package-root.js';

/** Main thread to worker. */
export type Request =
  | { session: number; kind: string; data: unknown }
  | { session: number; message: unknown }
  | { session: number; close: true };
/** Worker to main thread. */
export type Reply = { ready: true } | { session: number; message: unknown } | { session: number; closed: true };

/** Callbacks of a session. */
export interface SessionEvents {
  message(message: unknown): void;
  /** The thread has ended; no more messages follow. */
  failed(error: OneheadError): void;
}

/** Work on a thread that many sessions share, such as decoding a recording or detecting voice. */
export interface Session {
  post(message: unknown, transfer?: readonly Transferable[]): void;
  /**
   * `busy`: the thread has work for the session. `awaited`: somebody waits for the result, so the process must not
   * exit.
   */
  state(busy: boolean, awaited: boolean): void;
  /** Ends the session; resolves once the thread has released its resources. */
  close(): Promise<void>;
}

interface Own extends SessionEvents {
  busy: boolean;
  awaited: boolean;
  closed: (() => void) | null;
}

interface Thread {
  worker: Worker;
  ready: boolean;
  sessions: Map<number, Own>;
  idle: NodeJS.Timeout | undefined;
}

export interface PoolOptions {
  /** Maximum number of threads. */
  size?: number;
  /** Maximum JavaScript heap of a thread in megabytes; default: Node's own limit. */
  memory?: number;
  /** Milliseconds after which an idle thread ends. */
  idle?: number;
}

/**
 * Half of the cores, leaving the rest to devices; at least two, so that a short recording need not wait for a long one.
 */
const defaultSize = Math.max(2, Math.min(16, Math.floor(availableParallelism() / 2)));

export class WorkerPool {
  readonly #file: URL;
  readonly #size: number;
  readonly #memory: number | undefined;
  readonly #idle: number;
  readonly #threads = new Set<Thread>();
  #next = 0;
  #usable: boolean;

  /** `file` is the entry point of each thread; it calls `serve`. */
  constructor(file: URL, { size = defaultSize, memory, idle = 30_000 }: PoolOptions = {}) {
    this.#file = file;
    this.#size = size;
    this.#memory = memory;
    this.#idle = idle;
    // A bundler may have omitted the file.
    this.#usable = file.protocol === 'file:' && existsSync(fileURLToPath(file));
  }

  /** Number of running threads. */
  get threads(): number {
    return this.#threads.size;
  }

  /** Starts a thread in the background if there is none. */
  warm(): void {
    if (this.#threads.size === 0) this.#start();
  }

  /** True once a thread has started. */
  get ready(): boolean {
    return [...this.#threads].some(({ ready }) => ready);
  }

  /**
   * Opens a session on the thread with the least load; null if threads are not available. With `patient` false, threads
   * that are still starting are not used, since that takes longer than the work; null if there is no other.
   */
  open(
    kind: string,
    data: unknown,
    events: SessionEvents,
    patient = true,
    transfer?: readonly Transferable[],
  ): Session | null {
    const thread = this.#choose(patient);
    if (!thread) return null;
    const id = this.#next++;
    const own: Own = { ...events, busy: true, awaited: true, closed: null };
    const post = (request: Request, given: readonly Transferable[] = []) => {
      if (thread.sessions.get(id) === own) thread.worker.postMessage(request, given);
    };
    clearTimeout(thread.idle);
    thread.sessions.set(id, own);
    post({ session: id, kind, data }, transfer);
    this.#keep(thread);
    let closing: Promise<void> | null = null;
    return {
      post: (message, given) => {
        if (!closing) post({ session: id, message }, given);
      },
      state: (busy, awaited) => {
        if (closing || (own.busy === busy && own.awaited === awaited)) return;
        own.busy = busy;
        own.awaited = awaited;
        this.#keep(thread);
      },
      close: () => {
        closing ??= new Promise<void>((resolve) => {
          if (!thread.sessions.has(id)) return resolve();
          own.closed = resolve;
          own.busy = true;
          own.awaited = true;
          this.#keep(thread);
          post({ session: id, close: true });
        });
        return closing;
      },
    };
  }

  #choose(patient: boolean): Thread | null {
    const load = ({ sessions, ready }: Thread) =>
      [...sessions.values()].reduce((sum, { busy }) => sum + Number(busy), 0) + (ready ? 0 : 0.5);
    const least = (threads: readonly Thread[]) =>
      threads.reduce<Thread | null>((best, one) => (best && load(best) <= load(one) ? best : one), null);
    const all = [...this.#threads];
    let best = least(all);
    if ((!best || load(best) >= 1) && this.#threads.size < this.#size) best = this.#start() ?? best;
    return patient ? best : least(all.filter(({ ready }) => ready));
  }

  #start(): Thread | null {
    if (!this.#usable) return null;
    let worker: Worker;
    try {
      // Shares the process's environment: PATH says where ffmpeg is.
      worker = new Worker(this.#file, {
        env: SHARE_ENV,
        execArgv: [],
        resourceLimits: { maxOldGenerationSizeMb: this.#memory },
        name: 'onehead',
      });
    } catch {
      // Threads are not allowed (permission model) or resources are exhausted: the caller does the work itself.
      this.#usable = false;
      return null;
    }
    const thread: Thread = { worker, ready: false, sessions: new Map(), idle: undefined };
    this.#threads.add(thread);
    worker.on('message', (reply: Reply) => this.#take(thread, reply));
    worker.on('messageerror', (error) => this.#end(thread, error));
    worker.on('error', (error) => this.#end(thread, error));
    worker.on('exit', (code) => this.#end(thread, new Error(`it ended with code ${code}`)));
    worker.unref();
    this.#rest(thread);
    return thread;
  }

  #take(thread: Thread, reply: Reply): void {
    if ('ready' in reply) {
      thread.ready = true;
      return;
    }
    const own = thread.sessions.get(reply.session);
    if (!own) return;
    if ('closed' in reply) {
      thread.sessions.delete(reply.session);
      own.closed?.();
      this.#keep(thread);
      if (thread.sessions.size === 0) this.#rest(thread);
    } else if (!own.closed) own.message(reply.message);
  }

  /** Lets the process exit unless somebody waits for the thread. */
  #keep({ worker, sessions }: Thread): void {
    const awaited = [...sessions.values()].some((own) => own.busy && own.awaited);
    if (awaited) worker.ref();
    else worker.unref();
  }

  /** Ends the thread after a while, unless it gets new work. */
  #rest(thread: Thread): void {
    thread.idle = setTimeout(() => {
      this.#threads.delete(thread);
      void thread.worker.terminate();
    }, this.#idle).unref();
  }

  /** Removes a thread that has ended, and fails its sessions. */
  #end(thread: Thread, cause: Error & { code?: string }): void {
    clearTimeout(thread.idle);
    if (this.#threads.delete(thread) && !thread.ready && thread.sessions.size === 0) this.#usable = false;
    void thread.worker.terminate();
    const sessions = [...thread.sessions.values()];
    thread.sessions.clear();
    const memory = cause.code === 'ERR_WORKER_OUT_OF_MEMORY';
    for (const own of sessions) {
      if (own.closed) own.closed();
      else {
        own.failed(
          new OneheadError(
            memory ? 'OUT_OF_MEMORY' : 'WORKER_FAILED',
            memory
              ? 'The thread that decoded the audio ran out of memory; decode fewer recordings at once, or shorter ones.'
              : `The thread that decoded the audio ended early (${reasonOf(cause)}); try again.`,
            { cause },
          ),
        );
      }
    }
  }

  /** Ends all threads; their sessions fail. */
  async terminate(): Promise<void> {
    await Promise.all([...this.#threads].map(({ worker }) => worker.terminate()));
  }
}

/** The process's pool. */
export const workers = new WorkerPool(pathToFileURL(join(packageRoot(), 'dist', 'worker.js')));
