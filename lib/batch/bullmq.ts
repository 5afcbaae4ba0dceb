/** A queue for many machines: BullMQ on Redis. A claim is a lock of BullMQ, which expires unless it is extended. */
import type { Queue as Bull, ConnectionOptions, Job, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { refuse } from '../checks.js';
import { optional } from './optional.js';
import {
  type BatchProgress,
  type Chosen,
  type Claim,
  type Counts,
  type Done,
  type Failure,
  isChosen,
  type Queue,
  type Recording,
  retryDelay,
  type Summary,
} from './queue.js';
import { connect, packages, purpose, wrapErrors } from './redis.js';

type RecordingJob = Job<Recording, Summary, string>;
export interface RedisQueueOptions {
  /** redis://user:password@host:port/database, or rediss:// for TLS. */
  url: string;
  /** The queue's name; one server may have several queues. */
  name?: string;
  /** Milliseconds after which a worker loses its claims unless it extends them. */
  lock?: number;
  /** Failures after which a recording is set aside. */
  attempts?: number;
  /** Number of finished recordings to remember. */
  keep?: number;
  /** Called when the connection to the server is lost, and when it is restored. */
  onConnection?: (message: string) => void;
}

/** BullMQ's priorities: 1 is the highest. */
const lowestPriority = 2 ** 21 - 1;
/** Recordings in a request, so that none blocks Redis for long. */
const batchSize = 500;

/** Longer recordings have a higher priority. It distinguishes sizes in steps of 1%. */
function priorityOf(bytes: number): number {
  return lowestPriority - Math.min(lowestPriority - 1, Math.round(Math.log2(1 + bytes) * 64));
}

/** The Redis key of data that BullMQ does not store. */
const keyOf = (queue: string, name: string) => `onehead:${queue}:${name}`;

export class RedisQueue implements Queue {
  readonly isShared = true;
  readonly #client: Redis;
  readonly #queue: Bull<Recording, Summary, string>;
  readonly #makeWorker: () => Worker<Recording, Summary, string>;
  readonly #name: string;
  readonly #lock: number;
  readonly #attempts: number;
  readonly #keep: number;
  readonly #id = crypto.randomUUID();
  readonly #unrecoverable: new (
    reason: string,
  ) => Error;
  #worker: Worker<Recording, Summary, string> | null = null;
  #claims = 0;
  #closing = false;

  private constructor(
    client: Redis,
    bull: typeof import('bullmq'),
    { name = 'onehead', lock = 30_000, attempts = 5, keep = 100_000, onConnection }: RedisQueueOptions,
  ) {
    this.#client = client;
    this.#name = name;
    this.#lock = lock;
    this.#attempts = attempts;
    this.#keep = keep;
    this.#unrecoverable = bull.UnrecoverableError;
    const connection = client as unknown as ConnectionOptions;
    // An error event without a listener would end the process. The client's events report the errors below.
    const ignoreErrors = (emitter: { on(event: 'error', listener: (error: Error) => void): unknown }) =>
      emitter.on('error', () => {});
    this.#queue = new bull.Queue(name, { connection });
    ignoreErrors(this.#queue);
    this.#makeWorker = () => {
      const worker = new bull.Worker<Recording, Summary, string>(name, null, {
        connection,
        autorun: false,
        lockDuration: lock,
        stalledInterval: Math.max(1000, lock / 2),
        // A crash of the worker counts as a failure of the recording.
        maxStalledCount: attempts - 1,
        drainDelay: 2,
      });
      ignoreErrors(worker);
      return worker;
    };
    let disconnected = false;
    client.on('close', () => {
      if (this.#closing) return;
      if (!disconnected) onConnection?.('Redis cannot be reached; waiting for it.');
      disconnected = true;
    });
    client.on('ready', () => {
      if (disconnected) onConnection?.('Redis can be reached again.');
      disconnected = false;
    });
  }

  /** Throws OneheadError QUEUE_UNAVAILABLE, NOT_SUPPORTED if packages are missing, or INVALID_ARGUMENT. */
  static async open(options: RedisQueueOptions): Promise<RedisQueue> {
    if (!/^[\w.-]{1,100}$/.test(options.name ?? 'onehead')) {
      refuse('queue', 'a name of at most 100 letters, digits, underscores, dots and dashes', options.name);
    }
    const bull = await optional(() => import('bullmq'), purpose, packages);
    return new RedisQueue(await connect(options.url), bull, options);
  }

  /** A warning for each setting of the server by which recordings may be lost. */
  async risks(): Promise<string[]> {
    const setting = async (name: string) => {
      const reply = (await this.#client.config('GET', name).catch(() => null)) as string[] | null;
      return reply?.[1] ?? null;
    };
    const [policy, appendOnly] = [await setting('maxmemory-policy'), await setting('appendonly')];
    const risks: string[] = [];
    if (policy !== null && policy !== 'noeviction') {
      risks.push(
        `Redis may drop recordings when its memory is full: set maxmemory-policy to noeviction (it is ${policy}).`,
      );
    }
    if (appendOnly === 'no') {
      risks.push('Redis loses the queue when its machine fails: set appendonly to yes.');
    }
    return risks;
  }

  add(recordings: readonly Recording[]): Promise<{ added: number; known: number; setAside: number }> {
    return wrapErrors(async () => {
      let [known, setAside] = [0, 0];
      for (let start = 0; start < recordings.length; start += batchSize) {
        const batch = recordings.slice(start, start + batchSize);
        const states = await Promise.all(batch.map(({ id }) => this.#queue.getJobState(id)));
        known += states.filter((state) => state !== 'unknown').length;
        setAside += states.filter((state) => state === 'failed').length;
        // If a running recording was cancelled but is still in the queue, the cancellation is revoked.
        await this.#client.srem(keyOf(this.#name, 'cancelled'), ...batch.map(({ id }) => id));
        const missing = batch.filter((_, index) => states[index] === 'unknown');
        if (missing.length === 0) continue;
        await this.#queue.addBulk(
          missing.map((recording) => ({
            name: 'transcribe',
            data: recording,
            opts: {
              jobId: recording.id,
              priority: priorityOf(recording.bytes),
              attempts: this.#attempts,
              backoff: { type: 'exponential', delay: retryDelay(1) },
              removeOnComplete: { count: this.#keep },
              removeOnFail: false,
              stackTraceLimit: 0,
            },
          })),
        );
      }
      return { added: recordings.length - known, known, setAside };
    });
  }

  async claim(): Promise<Claim | null> {
    if (this.#worker === null) {
      this.#worker = this.#makeWorker();
      await this.#worker.waitUntilReady();
      // Requeues the recordings of workers that have crashed, also of this one before a restart.
      void this.#worker.startStalledCheckTimer();
    }
    const token = `${this.#id}:${++this.#claims}`;
    const job = await this.#worker.getNextJob(token);
    if (!job) return null;
    const claim = this.#claimOf(job, token);
    if (!job.deferredFailure) return claim;
    // Every worker that processed it crashed, so it is set aside before it crashes another one.
    await claim.setAside(
      'Every worker that processed it crashed or stopped responding; examine it before it is tried again.',
    );
    return null;
  }

  #claimOf(job: RecordingJob, token: string): Claim {
    const id = job.id!;
    /** Makes a change that needs the lock. False if another worker has the lock, or the recording was removed. */
    const withLock = async (change: () => Promise<unknown>): Promise<boolean> => {
      try {
        await change();
        return true;
      } catch (error) {
        if (isLockLost(error)) return false;
        throw error;
      }
    };
    const cancelled = keyOf(this.#name, 'cancelled');
    return {
      recording: job.data,
      attempt: job.attemptsStarted,
      lock: this.#lock,
      extend: async (progress) => {
        // Both requests are sent together.
        const [isCancelled, held] = await Promise.all([
          this.#client.sismember(cancelled, id),
          withLock(async () => {
            if ((await job.extendLock(token, this.#lock)) !== 1)
              throw Object.assign(new Error('no lock'), { code: -2 });
          }),
        ]);
        if (isCancelled === 1) {
          await withLock(() => this.#removeCancelled(job, token));
          return 'cancelled';
        }
        if (held && progress) await withLock(() => job.updateProgress({ ...progress }));
        return held ? 'held' : 'lost';
      },
      acknowledge: (summary) => withLock(() => job.moveToCompleted(summary, token, false)),
      fail: (reason) => withLock(() => job.moveToFailed(new Error(reason), token, false)),
      setAside: (reason) => withLock(() => job.moveToFailed(new this.#unrecoverable(reason), token, false)),
      release: () => withLock(() => job.moveToWait(token)),
    };
  }

  /** Removes a running recording that was cancelled. */
  async #removeCancelled(job: RecordingJob, token: string): Promise<void> {
    await job.moveToFailed(new this.#unrecoverable('cancelled'), token, false);
    await job.remove();
    await this.#client.srem(keyOf(this.#name, 'cancelled'), job.id!);
  }

  counts(): Promise<Counts> {
    return wrapErrors(async () => {
      const counts = await this.#queue.getJobCounts('wait', 'prioritized', 'delayed', 'active', 'completed', 'failed');
      const { wait = 0, waiting = 0, prioritized = 0, delayed = 0, active = 0, completed = 0, failed = 0 } = counts;
      return { waiting: wait + waiting + prioritized, delayed, active, done: completed, failed };
    });
  }

  failures(limit = 1000): Promise<Failure[]> {
    return wrapErrors(async () => {
      const jobs = (await this.#queue.getFailed(0, limit - 1)) as RecordingJob[];
      return jobs.map((job) => ({
        id: job.id!,
        source: job.data.source,
        name: job.data.name,
        reason: job.failedReason ?? '',
        attempts: job.attemptsMade + (job.stalledCounter ?? 0),
      }));
    });
  }

  done(limit = 1000): Promise<Done[]> {
    return wrapErrors(async () => {
      const jobs = (await this.#queue.getCompleted(0, limit - 1)) as RecordingJob[];
      return jobs.map(({ finishedOn = 0, returnvalue }) => ({ at: finishedOn, summary: returnvalue }));
    });
  }

  active(): Promise<{ recording: Recording; progress: BatchProgress | null }[]> {
    return wrapErrors(async () => {
      const jobs = (await this.#queue.getActive()) as RecordingJob[];
      return jobs.map(({ data, progress }) => ({
        recording: data,
        progress: typeof progress === 'object' ? (progress as unknown as BatchProgress) : null,
      }));
    });
  }

  /** The chosen jobs in the given states, which are read page by page. */
  async *#jobs(states: ('failed' | 'wait' | 'prioritized' | 'delayed' | 'active')[], chosen: Chosen) {
    for (const state of states) {
      const jobs: RecordingJob[] = [];
      for (let start = 0; ; start += batchSize) {
        const page = (await this.#queue.getJobs([state], start, start + batchSize - 1)) as RecordingJob[];
        jobs.push(...page.filter((job) => job && isChosen(chosen, job.data)));
        if (page.length < batchSize) break;
      }
      yield* jobs.map((job) => ({ job, state }));
    }
  }

  retry(chosen: Chosen): Promise<number> {
    return wrapErrors(async () => {
      let count = 0;
      for await (const { job } of this.#jobs(['failed'], chosen)) {
        await job.retry('failed', { resetAttemptsMade: true, resetAttemptsStarted: false });
        count += 1;
      }
      return count;
    });
  }

  cancel(chosen: Chosen): Promise<number> {
    return wrapErrors(async () => {
      let count = 0;
      for await (const { job, state } of this.#jobs(['wait', 'prioritized', 'delayed', 'active'], chosen)) {
        const removed =
          state !== 'active' &&
          (await job.remove().then(
            () => true,
            () => false, // a worker has just claimed it
          ));
        // Its worker removes it when it next extends the claim.
        if (!removed) await this.#client.sadd(keyOf(this.#name, 'cancelled'), job.id!);
        count += 1;
      }
      return count;
    });
  }

  agree(name: string, value: string): Promise<string> {
    return wrapErrors(async () => {
      const key = keyOf(this.#name, name);
      await this.#client.setnx(key, value);
      return (await this.#client.get(key)) ?? value;
    });
  }

  async close(): Promise<void> {
    this.#closing = true;
    // No recording is running any more. `true` does not wait for a blocking request, which would delay the exit.
    await this.#worker?.close(true);
    await this.#queue.close();
    this.#client.disconnect();
  }
}

/** BullMQ's codes for a job without the lock of this worker: removed, not locked, not active, locked by another. */
const lockLostCodes = new Set([-1, -2, -3, -6]);

function isLockLost(error: unknown): boolean {
  return lockLostCodes.has((error as { code?: number } | null)?.code ?? 0);
}
