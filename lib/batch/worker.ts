/** A worker: claims recordings from a queue, transcribes many at once, and stores their results. */
import { setTimeout as sleep } from 'node:timers/promises';
import { OneheadError, reasonOf } from '../errors.js';
import { onAbort } from '../signals.js';
import { TranscriptionError } from '../whisper/transcription/failure.js';
import type { Whisper } from '../whisper/whisper.js';
import { resultKey } from './digest.js';
import { isPermanent } from './failures.js';
import { type LocalFile, LocalFiles } from './local.js';
import { type BatchProgress, type Claim, type Queue, type Recording, retryDelay, type Summary } from './queue.js';
import type { ResultRecord, Results, StoredJournal } from './results.js';

export interface WorkerOptions {
  /** Recordings processed at once. The default is the model's windows, and two more whose audio is being decoded. */
  concurrency?: number;
  /**
   * Most milliseconds between saved parts of a journal. The first parts are saved sooner, so that a worker that is
   * killed again and again still gets further. Recordings that take less than a quarter of it have no journal.
   */
  journalInterval?: number;
  /** Milliseconds that running recordings have to finish when the worker is stopped. */
  drain?: number;
  /** Ends when the queue is empty, instead of waiting for more. */
  untilEmpty?: boolean;
  /**
   * Milliseconds for which nothing is claimed after the model had too little memory, by the number of such failures
   * in a row.
   */
  pause?: (failures: number) => number;
  /** Called for each recording, and for problems of the queue or the store. */
  onEvent?: (event: WorkerEvent) => void;
}

export type WorkerEvent =
  /** `known`: windows in the journal of earlier attempts. */
  | { event: 'started'; recording: Recording; attempt: number; known: number }
  | { event: 'done'; recording: Recording; summary: Summary; warnings: readonly string[] }
  | { event: 'failed'; recording: Recording; attempt: number; reason: string; setAside: boolean }
  /**
   * The recording was not finished, since another worker has claimed it, it was cancelled, the worker stopped, the
   * model's devices failed, or their memory was taken by others.
   */
  | { event: 'left'; recording: Recording; reason: LeftReason }
  | { event: 'trouble'; message: string };

/**
 * Parts of a journal are saved after a quarter of the time since the recording was begun, and of the longest interval
 * at least. So a worker that ends loses at most a quarter of its work, or a quarter of the interval.
 */
const journalShare = 0.25;

type LeftReason = 'lost' | 'cancelled' | 'stopped' | 'device failed' | 'out of memory';

/**
 * Claims of a recording up to which a failure of the devices, or of their memory, is not counted as its own. Later ones
 * are, so that a recording that makes devices fail is set aside in the end.
 */
const uncountedClaims = 10;

/** Milliseconds between attempts to reach the queue. */
const retryInterval = 1000;
/** Milliseconds within which the queue has to respond when the worker is stopped. */
const stopTimeout = 5000;

/** Ends the work on a recording before it is finished. */
class Unfinished extends Error {
  readonly reason: LeftReason;

  constructor(reason: LeftReason) {
    super(reason);
    this.reason = reason;
  }
}

/** True if the model had too little memory, as when another process takes the GPU's. Its engine serves on. */
const isShortage = (error: unknown): error is OneheadError =>
  error instanceof OneheadError && error.code === 'OUT_OF_MEMORY';

/** A recording that is being processed. */
interface Task {
  claim: Claim;
  stop: AbortController;
  progress: BatchProgress | undefined;
}

export class BatchWorker {
  readonly #queue: Queue;
  readonly #whisper: Whisper;
  /** The model's digest and its options of loading. */
  readonly #model: string;
  readonly #results: Results;
  readonly #options: Required<Omit<WorkerOptions, 'onEvent'>>;
  readonly #emit: (event: WorkerEvent) => void;
  readonly #tasks = new Set<Task>();
  readonly #files = new LocalFiles();
  #ended = false;
  /** Failures for lack of memory since the last recording that was done. */
  #shortages = 0;
  /** When recordings are claimed again after such a failure, on the clock of `performance.now()`. */
  #resumeAt = 0;

  constructor(queue: Queue, whisper: Whisper, model: string, results: Results, options: WorkerOptions = {}) {
    const { onEvent = () => {}, concurrency = whisper.model.windows + 2 } = options;
    this.#queue = queue;
    this.#whisper = whisper;
    this.#model = model;
    this.#results = results;
    this.#emit = onEvent;
    this.#options = {
      journalInterval: 20_000,
      drain: 60_000,
      untilEmpty: false,
      pause: retryDelay,
      ...options,
      concurrency,
    };
  }

  /**
   * Processes recordings until `signal` aborts, or, with `untilEmpty`, until the queue is empty. Then running
   * recordings have `drain` milliseconds to finish; unfinished ones are returned to the queue, and their journals are
   * saved. Rejects with OneheadError DEVICE_FAILED, after the same, if all of the model's devices have failed.
   */
  async run(signal: AbortSignal): Promise<void> {
    this.#ended = false;
    const running = new Set<Promise<void>>();
    let wake = () => {};
    const stopListening = onAbort(signal, () => wake());
    while (!signal.aborted && !this.#deviceFailure) {
      const pause = this.#resumeAt - performance.now();
      if (running.size >= this.#options.concurrency || pause > 0) {
        let timer: NodeJS.Timeout | undefined;
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (pause > 0) timer = setTimeout(resolve, pause);
        });
        clearTimeout(timer);
        continue;
      }
      const claim = await this.#claim(signal);
      if (claim) {
        // It only rejects if the queue could not be reached until the worker ended, which was reported.
        const task = this.#process(claim).catch(() => {});
        running.add(task);
        void task.then(() => {
          running.delete(task);
          wake();
        });
      } else if (this.#options.untilEmpty && running.size === 0 && (await this.#isEmpty())) break;
    }
    stopListening();
    const timer = setTimeout(() => {
      for (const { stop } of this.#tasks) stop.abort(new Unfinished('stopped'));
    }, this.#options.drain);
    // If the queue cannot be reached, the worker still ends: claims that are not released expire.
    const timeout = new AbortController();
    const late = sleep(this.#options.drain + stopTimeout, 'late', { signal: timeout.signal }).catch(() => {});
    if ((await Promise.race([Promise.all(running), late])) === 'late') {
      this.#emit({
        event: 'trouble',
        message: 'The queue did not respond; unfinished recordings return to it when their claims expire.',
      });
    }
    this.#ended = true;
    timeout.abort();
    clearTimeout(timer);
    await this.#files.close();
    const failure = this.#deviceFailure;
    if (failure && !signal.aborted) {
      throw new OneheadError(
        'DEVICE_FAILED',
        `The model's device has failed: ${failure.message.replace(/\.$/, '')}. Unfinished recordings are back in the queue; start the worker again.`,
      );
    }
  }

  /** Why none of the model's devices serves any more; null while one does. */
  get #deviceFailure() {
    return this.#whisper.figures().failure;
  }

  /** The reason why a recording is left to others; null if the error is its own. */
  #leftFor({ stop, claim }: Task, error: unknown): LeftReason | null {
    const cause = stop.signal.aborted ? stop.signal.reason : error;
    if (cause instanceof Unfinished) return cause.reason;
    if (isPermanent(error) || claim.attempt > uncountedClaims) return null;
    if (this.#deviceFailure !== null) return 'device failed';
    return isShortage(error) ? 'out of memory' : null;
  }

  /**
   * Claims nothing for a while, since other recordings would fail for lack of memory too. Failures during the pause are
   * of recordings that were running when it began, and do not prolong it.
   */
  #pauseFor(error: Error): void {
    if (performance.now() < this.#resumeAt) return;
    this.#shortages += 1;
    const pause = this.#options.pause(this.#shortages);
    this.#resumeAt = performance.now() + pause;
    const seconds = Math.ceil(pause / 1000);
    this.#emit({ event: 'trouble', message: `No recordings are claimed for ${seconds} s: ${error.message}` });
  }

  /** Claims the next recording; null if there is none, or the queue cannot be reached. */
  async #claim(signal: AbortSignal): Promise<Claim | null> {
    let stopListening = () => {};
    let timer: NodeJS.Timeout | undefined;
    try {
      const request = this.#queue.claim();
      const late = new Promise<null>((resolve) => {
        stopListening = onAbort(signal, () => {
          timer = setTimeout(resolve, stopTimeout, null);
        });
      });
      const claim = await Promise.race([request, late]);
      if (!signal.aborted) return claim;
      // A response after the timeout is ignored: the claim expires.
      request.catch(() => {});
      await Promise.race([claim?.release(), sleep(stopTimeout, null, { ref: false })]);
    } catch (error) {
      this.#emit({ event: 'trouble', message: `A request to the queue failed: ${reasonOf(error)}.` });
      await sleep(retryInterval, undefined, { signal }).catch(() => {});
    } finally {
      stopListening();
      clearTimeout(timer);
    }
    return null;
  }

  async #isEmpty(): Promise<boolean> {
    const counts = await this.#queue.counts().catch(() => null);
    return counts !== null && counts.waiting + counts.delayed + counts.active === 0;
  }

  /** Processes a claimed recording. Rejects only if the queue cannot be reached until the worker has ended. */
  async #process(claim: Claim): Promise<void> {
    const task: Task = { claim, stop: new AbortController(), progress: undefined };
    this.#tasks.add(task);
    const timer = setInterval(() => void this.#extend(task), claim.lock / 3);
    const { recording, attempt } = claim;
    try {
      await this.#transcribe(task);
    } catch (error) {
      const left = this.#leftFor(task, error);
      if (isShortage(error)) this.#pauseFor(error);
      if (left !== null) {
        if (left !== 'lost' && left !== 'cancelled') await this.#repeat(() => claim.release());
        this.#emit({ event: 'left', recording, reason: left });
        return;
      }
      const reason = error instanceof OneheadError ? error.message : reasonOf(error);
      const setAside = isPermanent(error);
      this.#emit({ event: 'failed', recording, attempt, reason, setAside });
      await this.#repeat(() => (setAside ? claim.setAside(reason) : claim.fail(reason)));
    } finally {
      clearInterval(timer);
      this.#tasks.delete(task);
    }
  }

  /** Repeats a request to the queue until it succeeds, or the worker has ended. */
  async #repeat<T>(request: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await request();
      } catch (error) {
        if (this.#ended) throw error;
        this.#emit({ event: 'trouble', message: `A request to the queue failed: ${reasonOf(error)}.` });
        await sleep(retryInterval);
      }
    }
  }

  async #extend({ claim, stop, progress }: Task): Promise<void> {
    try {
      const state = await claim.extend(progress);
      if (state !== 'held') stop.abort(new Unfinished(state));
    } catch {
      // The queue cannot be reached. If another worker claims the recording meanwhile, the first result is kept.
    }
  }

  async #transcribe(task: Task): Promise<void> {
    const { claim, stop } = task;
    const { recording, attempt } = claim;
    const started = performance.now();
    const file = await this.#files.fetch(recording.source, stop.signal);
    try {
      const key = resultKey(file.digest, this.#model, recording.options);
      const journal = this.#results.journal(key, attempt);
      const summary = await this.#finish(task, file, key, journal).catch(async (error: unknown) => {
        await this.#saveProgress(task, key, journal, error);
        throw error;
      });
      const elapsed = Math.round(performance.now() - started);
      if (!(await this.#repeat(() => claim.acknowledge({ ...summary, elapsed })))) throw new Unfinished('lost');
      this.#shortages = 0;
      this.#emit({ event: 'done', recording, summary: { ...summary, elapsed }, warnings: summary.warnings });
    } finally {
      await file.clean();
    }
  }

  /** Transcribes a file and stores its result and formats. */
  async #finish(task: Task, file: LocalFile, key: string, journal: StoredJournal) {
    const { claim } = task;
    const { recording, attempt } = claim;
    const existing = await this.#results.find(key);
    // A process that was killed between storing the result and the end has left its journal.
    if (existing !== null && this.#mayHaveJournal(attempt)) await journal.load();
    const record = existing ?? (await this.#decode(task, file, journal));
    // If the claim was lost, nothing is written.
    const state = await this.#repeat(() => claim.extend());
    if (state !== 'held') throw new Unfinished(state);
    const stored = existing ?? (await this.#results.keep(key, record));
    await this.#results.write(recording, key, stored);
    await journal.remove();
    const { duration, incomplete, warnings } = stored.transcription;
    return { duration, key, repeated: existing !== null, incomplete, attempt, warnings };
  }

  /** Saves the progress of an unfinished attempt for the next one, on any machine. */
  async #saveProgress({ claim, stop }: Task, key: string, journal: StoredJournal, error: unknown): Promise<void> {
    const cause = stop.signal.aborted ? stop.signal.reason : error;
    try {
      if (!(cause instanceof Unfinished) || cause.reason === 'stopped') await journal.flush();
      else if (cause.reason === 'cancelled') await journal.remove();
      // What was saved before the loss was noticed: the worker that has the claim may have removed the journal already.
      else if (cause.reason === 'lost' && (await this.#results.find(key)) !== null) await journal.remove();
      if (error instanceof TranscriptionError && isPermanent(error)) {
        await this.#results.writePartial(claim.recording, error.partial);
      }
    } catch (failure) {
      this.#emit({ event: 'trouble', message: (failure as Error).message });
    }
  }

  /** A queue in memory does not know whether an earlier process was killed. */
  #mayHaveJournal(attempt: number): boolean {
    return attempt > 1 || !this.#queue.isShared;
  }

  async #decode(task: Task, file: LocalFile, journal: StoredJournal): Promise<ResultRecord> {
    const { claim, stop } = task;
    const { recording, attempt } = claim;
    if (this.#mayHaveJournal(attempt)) await journal.load();
    this.#emit({ event: 'started', recording, attempt, known: journal.size });
    const { journalInterval } = this.#options;
    let timer: NodeJS.Timeout;
    const begun = performance.now();
    const saveLater = () => {
      const interval = Math.max(journalInterval, performance.now() - begun) * journalShare;
      timer = setTimeout(
        () => {
          journal.flush().catch((error: Error) => this.#emit({ event: 'trouble', message: error.message }));
          saveLater();
        },
        Math.min(journalInterval, interval),
      );
    };
    saveLater();
    try {
      const { timings, ...transcription } = await this.#whisper.transcribe(file.path, {
        ...recording.options,
        priority: 'batch',
        journal,
        signal: stop.signal,
        onProgress: ({ processed, total }) => {
          task.progress = { processed, total };
        },
      });
      // If the file was replaced meanwhile, the result does not belong to its digest.
      await file.checkUnchanged();
      return { transcription };
    } finally {
      clearTimeout(timer!);
    }
  }
}
