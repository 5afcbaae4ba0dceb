/** The process's pool of worker threads, for work of the host that would hold up the event loop. */
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
  /** The thread has ended; nothing comes any more. */
  failed(error: OneheadError): void;
}

/** One piece of work on a thread, which many share: a recording that is decoded, a voice that is detected. */
export interface Session {
  post(message: unknown, transfer?: readonly Transferable[]): void;
  /**
   * `busy`: the thread has something to do for it. `awaited`: somebody waits for that, so that the process must not end
   * before.
   */
  state(busy: boolean, awaited: boolean): void;
  /** Ends it; fulfilled once the thread has let go of what it opened. */
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
  /** Threads at most. */
  size?: number;
  /** Megabytes of JavaScript objects that a thread may hold; Node's own limit unless given. */
  memory?: number;
  /** Milliseconds after which a thread that has nothing to do ends. */
  idle?: number;
}

/**
 * Half of the cores, the rest is the devices'; two at least, so that a short recording need not wait for the steps of a
 * long one.
 */
const usualSize = Math.max(2, Math.min(16, Math.floor(availableParallelism() / 2)));

export class WorkerPool {
  readonly #file: URL;
  readonly #size: number;
  readonly #memory: number | undefined;
  readonly #idle: number;
  readonly #threads = new Set<Thread>();
  #next = 0;
  #usable: boolean;

  /** `file` is what each thread runs: it calls `serve`. */
  constructor(file: URL, { size = usualSize, memory, idle = 30_000 }: PoolOptions = {}) {
    this.#file = file;
    this.#size = size;
    this.#memory = memory;
    this.#idle = idle;
    // Bundlers that pack this file may have left the other behind.
    this.#usable = file.protocol === 'file:' && existsSync(fileURLToPath(file));
  }

  /** Threads that run now. */
  get threads(): number {
    return this.#threads.size;
  }

  /** Starts a thread in the background where there is none. */
  warm(): void {
    if (this.#threads.size === 0) this.#start();
  }

  /** True once a thread has started. */
  get ready(): boolean {
    return [...this.#threads].some(({ ready }) => ready);
  }

  /**
   * Begins a session on the thread that has least to do; null where there are no threads to be had. `patient` false:
   * not on a thread that is still starting, which takes longer than the work; null where there is no other.
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
      // The environment is the process's own, as it is on the main thread: PATH says where ffmpeg is.
      worker = new Worker(this.#file, {
        env: SHARE_ENV,
        execArgv: [],
        resourceLimits: { maxOldGenerationSizeMb: this.#memory },
        name: 'onehead',
      });
    } catch {
      // Not allowed here (the permission model), or out of resources: the work is done where it is.
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

  /** Lets the process end unless somebody waits for the thread. */
  #keep({ worker, sessions }: Thread): void {
    const awaited = [...sessions.values()].some((own) => own.busy && own.awaited);
    if (awaited) worker.ref();
    else worker.unref();
  }

  /** Ends the thread after a while, unless it gets something to do. */
  #rest(thread: Thread): void {
    thread.idle = setTimeout(() => {
      this.#threads.delete(thread);
      void thread.worker.terminate();
    }, this.#idle).unref();
  }

  /** Takes leave of a thread that has ended, and tells those who had something on it. */
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
              ? 'The thread that read the audio ran out of memory; read fewer recordings at once, or shorter ones.'
              : `The thread that read the audio ended before it had done so (${reasonOf(cause)}); try again.`,
            { cause },
          ),
        );
      }
    }
  }

  /** Ends all threads; what they had under way fails. */
  async terminate(): Promise<void> {
    await Promise.all([...this.#threads].map(({ worker }) => worker.terminate()));
  }
}

/** The process's pool. */
export const workers = new WorkerPool(pathToFileURL(join(packageRoot(), 'dist', 'worker.js')));
