/** A pool of worker threads, for work that would block the event loop. */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { SHARE_ENV, type Transferable, Worker } from 'node:worker_threads';
import { threadsWithinQuota } from '../cpu-quota.js';
import { OneheadError, reasonOf } from '../errors.js';
import { findPackageRoot } from '../package-root.js';

/** Messages from the main thread to a worker thread. */
export type Request =
  | { session: number; kind: string; data: unknown }
  | { session: number; message: unknown }
  | { session: number; close: true };
/** Messages from a worker thread to the main thread. */
export type Reply = { ready: true } | { session: number; message: unknown } | { session: number; closed: true };

/** Callbacks of a session. */
export interface SessionEvents {
  message(message: unknown): void;
  /** The thread has ended; no more messages follow. */
  failed(error: OneheadError): void;
}

/** A task on a worker thread, such as decoding a recording or detecting voice. Many sessions share a thread. */
export interface Session {
  post(message: unknown, transfer?: readonly Transferable[]): void;
  /**
   * Sets the state, which is initially true for both. `busy`: the thread has work for the session. `awaited`: a caller
   * waits for the result, so the process must not exit.
   */
  setState(busy: boolean, awaited: boolean): void;
  /** Ends the session; resolves once the thread has released its resources. */
  close(): Promise<void>;
}

interface SessionState extends SessionEvents {
  busy: boolean;
  awaited: boolean;
  /** Called when the thread has closed the session; null while it is open. */
  onClosed: (() => void) | null;
}

interface Thread {
  worker: Worker;
  ready: boolean;
  sessions: Map<number, SessionState>;
  idleTimer: NodeJS.Timeout | undefined;
}

export interface PoolOptions {
  /** Maximum number of threads. */
  size?: number;
  /** Maximum JavaScript heap of a thread in megabytes; default: Node's limit. */
  memory?: number;
  /** Milliseconds after which an idle thread ends. */
  idle?: number;
}

/** Half of the cores; devices use the others. At least two, so that a short recording does not wait for a long one. */
const defaultSize = Math.max(2, Math.min(16, Math.floor(threadsWithinQuota(availableParallelism()) / 2)));

export class WorkerPool {
  readonly #file: URL | null;
  readonly #size: number;
  readonly #memory: number | undefined;
  readonly #idle: number;
  readonly #threads = new Set<Thread>();
  #nextId = 0;
  #usable: boolean;

  /** `file` is the entry point of each thread, which calls `serve`; without it there are no threads. */
  constructor(file: URL | null, { size = defaultSize, memory, idle = 30_000 }: PoolOptions = {}) {
    this.#file = file;
    this.#size = size;
    this.#memory = memory;
    this.#idle = idle;
    // A bundler may have omitted the file.
    this.#usable = file?.protocol === 'file:' && existsSync(fileURLToPath(file));
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
   * Opens a session on the thread with the least load; returns null if no threads are available. With `patient` false,
   * only threads that have started are used, since starting takes longer than a short task.
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
    const id = this.#nextId++;
    const session: SessionState = { ...events, busy: true, awaited: true, onClosed: null };
    const post = (request: Request, objects: readonly Transferable[] = []) => {
      if (thread.sessions.get(id) === session) thread.worker.postMessage(request, objects);
    };
    clearTimeout(thread.idleTimer);
    thread.sessions.set(id, session);
    post({ session: id, kind, data }, transfer);
    this.#updateRef(thread);
    let closing: Promise<void> | null = null;
    return {
      post: (message, objects) => {
        if (!closing) post({ session: id, message }, objects);
      },
      setState: (busy, awaited) => {
        if (closing || (session.busy === busy && session.awaited === awaited)) return;
        session.busy = busy;
        session.awaited = awaited;
        this.#updateRef(thread);
      },
      close: () => {
        closing ??= new Promise<void>((resolve) => {
          if (!thread.sessions.has(id)) return resolve();
          session.onClosed = resolve;
          session.busy = true;
          session.awaited = true;
          this.#updateRef(thread);
          post({ session: id, close: true });
        });
        return closing;
      },
    };
  }

  #choose(patient: boolean): Thread | null {
    const load = ({ sessions, ready }: Thread) =>
      [...sessions.values()].reduce((sum, { busy }) => sum + Number(busy), 0) + (ready ? 0 : 0.5);
    const leastLoaded = (threads: readonly Thread[]) =>
      threads.reduce<Thread | null>((best, thread) => (best && load(best) <= load(thread) ? best : thread), null);
    const all = [...this.#threads];
    let best = leastLoaded(all);
    if ((!best || load(best) >= 1) && this.#threads.size < this.#size) best = this.#start() ?? best;
    return patient ? best : leastLoaded(all.filter(({ ready }) => ready));
  }

  #start(): Thread | null {
    if (!this.#usable || !this.#file) return null;
    let worker: Worker;
    try {
      // The process's environment is shared, since PATH locates ffmpeg even if it changes later.
      worker = new Worker(this.#file, {
        env: SHARE_ENV,
        execArgv: [],
        resourceLimits: { maxOldGenerationSizeMb: this.#memory },
        name: 'onehead',
      });
    } catch {
      // Threads are forbidden (permission model) or resources are exhausted: callers do the work themselves.
      this.#usable = false;
      return null;
    }
    const thread: Thread = { worker, ready: false, sessions: new Map(), idleTimer: undefined };
    this.#threads.add(thread);
    worker.on('message', (reply: Reply) => this.#receive(thread, reply));
    worker.on('messageerror', (error) => this.#onEnd(thread, error));
    worker.on('error', (error) => this.#onEnd(thread, error));
    worker.on('exit', (code) => this.#onEnd(thread, new Error(`it ended with code ${code}`)));
    worker.unref();
    this.#scheduleEnd(thread);
    return thread;
  }

  #receive(thread: Thread, reply: Reply): void {
    if ('ready' in reply) {
      thread.ready = true;
      return;
    }
    const session = thread.sessions.get(reply.session);
    if (!session) return;
    if ('closed' in reply) {
      thread.sessions.delete(reply.session);
      session.onClosed?.();
      this.#updateRef(thread);
      if (thread.sessions.size === 0) this.#scheduleEnd(thread);
    } else if (!session.onClosed) session.message(reply.message);
  }

  /** Lets the process exit unless a caller waits for the thread. */
  #updateRef({ worker, sessions }: Thread): void {
    const awaited = [...sessions.values()].some((session) => session.busy && session.awaited);
    if (awaited) worker.ref();
    else worker.unref();
  }

  /** Ends the thread after the idle time, unless it gets a new session. */
  #scheduleEnd(thread: Thread): void {
    thread.idleTimer = setTimeout(() => {
      this.#threads.delete(thread);
      void thread.worker.terminate();
    }, this.#idle).unref();
  }

  /** Removes a thread that has ended, and fails its sessions. */
  #onEnd(thread: Thread, cause: Error & { code?: string }): void {
    clearTimeout(thread.idleTimer);
    if (this.#threads.delete(thread) && !thread.ready && thread.sessions.size === 0) this.#usable = false;
    void thread.worker.terminate();
    const sessions = [...thread.sessions.values()];
    thread.sessions.clear();
    const outOfMemory = cause.code === 'ERR_WORKER_OUT_OF_MEMORY';
    for (const session of sessions) {
      if (session.onClosed) session.onClosed();
      else {
        session.failed(
          new OneheadError(
            outOfMemory ? 'OUT_OF_MEMORY' : 'WORKER_FAILED',
            outOfMemory
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
const folder = findPackageRoot();
export const workers = new WorkerPool(folder === null ? null : pathToFileURL(join(folder, 'dist', 'worker.js')));
