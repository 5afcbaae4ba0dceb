/**
 * A queue on Redis for many machines, with BullMQ. Claims are BullMQ's locks, which expire unless they are extended.
 */
import type { Queue as Bull, ConnectionOptions, Job, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { OneheadError, shown } from '../errors.js';
import { optional } from './optional.js';
import {
  type BatchProgress,
  type Chosen,
  type Claim,
  type Counts,
  type Done,
  type Failure,
  isChosen,
  pauseAfter,
  type Queue,
  type Recording,
  type Summary,
} from './queue.js';
import { answered, connect, packages, purpose } from './redis.js';

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
/** Recordings in one call, limited so that a reply does not block Redis for long. */
const batchSize = 500;

/** Longer recordings go first. Sizes are distinguished in steps of 1/64 octave, up to a terabyte. */
function priorityOf(bytes: number): number {
  return lowestPriority - Math.min(lowestPriority - 1, Math.round(Math.log2(1 + bytes) * 64));
}

/** A Redis key for our own data. */
const keyOf = (name: string, what: string) => `onehead:${name}:${what}`;

export class RedisQueue implements Queue {
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
    const calm = (emitter: { on(event: 'error', listener: (error: Error) => void): unknown }) =>
      emitter.on('error', () => {}); // reported by the client's own events
    this.#queue = new bull.Queue(name, { connection });
    calm(this.#queue);
    this.#makeWorker = () => {
      const worker = new bull.Worker<Recording, Summary, string>(name, null, {
        connection,
        autorun: false,
        lockDuration: lock,
        stalledInterval: Math.max(1000, lock / 2),
        // Each crash of a process that had it counts as a failure.
        maxStalledCount: attempts - 1,
        drainDelay: 2,
      });
      calm(worker);
      return worker;
    };
    let away = false;
    client.on('close', () => {
      if (this.#closing) return;
      if (!away) onConnection?.('Redis cannot be reached; waiting for it.');
      away = true;
    });
    client.on('ready', () => {
      if (away) onConnection?.('Redis can be reached again.');
      away = false;
    });
  }

  /** Throws OneheadError QUEUE_UNAVAILABLE, NOT_SUPPORTED if packages are missing, or INVALID_ARGUMENT. */
  static async open(options: RedisQueueOptions): Promise<RedisQueue> {
    if (!/^[\w.-]{1,100}$/.test(options.name ?? 'onehead')) {
      throw new OneheadError(
        'INVALID_ARGUMENT',
        `Expected the queue's name to consist of letters, digits, dots and dashes but received '${shown(options.name)}'.`,
        { argument: 'queue' },
      );
    }
    const bull = await optional(() => import('bullmq'), purpose, packages);
    return new RedisQueue(await connect(options.url), bull, options);
  }

  /** Settings of the server that may lose recordings, one sentence for each. */
  async risks(): Promise<string[]> {
    const setting = async (name: string) => {
      const answer = (await this.#client.config('GET', name).catch(() => null)) as string[] | null;
      return answer?.[1] ?? null;
    };
    const [policy, log] = [await setting('maxmemory-policy'), await setting('appendonly')];
    const risks: string[] = [];
    if (policy !== null && policy !== 'noeviction') {
      risks.push(
        `Redis may drop recordings when its memory is full: set maxmemory-policy to noeviction (it is ${policy}).`,
      );
    }
    if (log === 'no') {
      risks.push('Redis loses the queue when its machine fails: set appendonly to yes.');
    }
    return risks;
  }

  add(recordings: readonly Recording[]): Promise<{ added: number; known: number; setAside: number }> {
    return answered(async () => {
      let [known, setAside] = [0, 0];
      for (let start = 0; start < recordings.length; start += batchSize) {
        const some = recordings.slice(start, start + batchSize);
        const there = await Promise.all(some.map(({ id }) => this.#queue.getJobState(id)));
        known += there.filter((state) => state !== 'unknown').length;
        setAside += there.filter((state) => state === 'failed').length;
        // Running recordings that were cancelled are submitted again.
        await this.#client.srem(keyOf(this.#name, 'cancelled'), ...some.map(({ id }) => id));
        const missing = some.filter((_, index) => there[index] === 'unknown');
        if (missing.length === 0) continue;
        await this.#queue.addBulk(
          missing.map((recording) => ({
            name: 'transcribe',
            data: recording,
            opts: {
              jobId: recording.id,
              priority: priorityOf(recording.bytes),
              attempts: this.#attempts,
              backoff: { type: 'exponential', delay: pauseAfter(1) },
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
      // Requeues the recordings of dead workers, including our own from before a restart.
      void this.#worker.startStalledCheckTimer();
    }
    const token = `${this.#id}:${++this.#claims}`;
    const job = await this.#worker.getNextJob(token);
    if (!job) return null;
    const claim = this.#claimOf(job, token);
    if (!job.deferredFailure) return claim;
    // Every process that had it crashed: it is set aside before it crashes another one.
    await claim.setAside(
      'Every worker that had it crashed or stopped responding; examine it before it is tried again.',
    );
    return null;
  }

  #claimOf(job: RecordingJob, token: string): Claim {
    const id = job.id!;
    /** False if the lock now belongs to another worker, or the recording was removed. */
    const locked = async (change: () => Promise<unknown>): Promise<boolean> => {
      try {
        await change();
        return true;
      } catch (error) {
        if (isGone(error)) return false;
        throw error;
      }
    };
    const cancelled = keyOf(this.#name, 'cancelled');
    return {
      recording: job.data,
      attempt: job.attemptsStarted,
      lock: this.#lock,
      extend: async (progress) => {
        // Both in one round trip.
        const [isCancelled, held] = await Promise.all([
          this.#client.sismember(cancelled, id),
          locked(async () => {
            if ((await job.extendLock(token, this.#lock)) !== 1)
              throw Object.assign(new Error('no lock'), { code: -2 });
          }),
        ]);
        if (isCancelled === 1) {
          await locked(() => this.#takeOut(job, token));
          return 'cancelled';
        }
        if (held && progress) await locked(() => job.updateProgress({ ...progress }));
        return held ? 'held' : 'lost';
      },
      acknowledge: (summary) => locked(() => job.moveToCompleted(summary, token, false)),
      fail: (reason) => locked(() => job.moveToFailed(new Error(reason), token, false)),
      setAside: (reason) => locked(() => job.moveToFailed(new this.#unrecoverable(reason), token, false)),
      release: () => locked(() => job.moveToWait(token)),
    };
  }

  /** Ends a running recording that was cancelled. */
  async #takeOut(job: RecordingJob, token: string): Promise<void> {
    await job.moveToFailed(new this.#unrecoverable('cancelled'), token, false);
    await job.remove();
    await this.#client.srem(keyOf(this.#name, 'cancelled'), job.id!);
  }

  counts(): Promise<Counts> {
    return answered(async () => {
      const counts = await this.#queue.getJobCounts('wait', 'prioritized', 'delayed', 'active', 'completed', 'failed');
      const { wait = 0, waiting = 0, prioritized = 0, delayed = 0, active = 0, completed = 0, failed = 0 } = counts;
      return { waiting: wait + waiting + prioritized, delayed, active, done: completed, failed };
    });
  }

  failures(most = 1000): Promise<Failure[]> {
    return answered(async () => {
      const jobs = (await this.#queue.getFailed(0, most - 1)) as RecordingJob[];
      return jobs.map((job) => ({
        id: job.id!,
        source: job.data.source,
        name: job.data.name,
        reason: job.failedReason ?? '',
        attempts: job.attemptsMade + (job.stalledCounter ?? 0),
      }));
    });
  }

  done(most = 1000): Promise<Done[]> {
    return answered(async () => {
      const jobs = (await this.#queue.getCompleted(0, most - 1)) as RecordingJob[];
      return jobs.map(({ finishedOn = 0, returnvalue }) => ({ at: finishedOn, summary: returnvalue }));
    });
  }

  active(): Promise<{ recording: Recording; progress: BatchProgress | null }[]> {
    return answered(async () => {
      const jobs = (await this.#queue.getActive()) as RecordingJob[];
      return jobs.map(({ data, progress }) => ({
        recording: data,
        progress: typeof progress === 'object' ? (progress as unknown as BatchProgress) : null,
      }));
    });
  }

  /** The chosen jobs of some states, page by page. */
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
    return answered(async () => {
      let count = 0;
      for await (const { job } of this.#jobs(['failed'], chosen)) {
        await job.retry('failed', { resetAttemptsMade: true, resetAttemptsStarted: false });
        count += 1;
      }
      return count;
    });
  }

  cancel(chosen: Chosen): Promise<number> {
    return answered(async () => {
      let count = 0;
      for await (const { job, state } of this.#jobs(['wait', 'prioritized', 'delayed', 'active'], chosen)) {
        const removed =
          state !== 'active' &&
          (await job.remove().then(
            () => true,
            () => false, // a worker has just taken it
          ));
        // Its worker ends it when it extends the claim next time.
        if (!removed) await this.#client.sadd(keyOf(this.#name, 'cancelled'), job.id!);
        count += 1;
      }
      return count;
    });
  }

  agree(name: string, value: string): Promise<string> {
    return answered(async () => {
      const key = keyOf(this.#name, name);
      await this.#client.setnx(key, value);
      return (await this.#client.get(key)) ?? value;
    });
  }

  async close(): Promise<void> {
    this.#closing = true;
    // Nothing is running any more; a blocking call must not keep the process alive.
    await this.#worker?.close(true);
    await this.#queue.close();
    this.#client.disconnect();
  }
}

/**
 * BullMQ's codes for a recording that no longer belongs to this worker: removed, lock lost, not active, or another's.
 */
const goneCodes = new Set([-1, -2, -3, -6]);

function isGone(error: unknown): boolean {
  return goneCodes.has((error as { code?: number } | null)?.code ?? 0);
}
