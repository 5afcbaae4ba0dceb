/** A worker: claims recordings from a queue, transcribes many at once, and stores their results. */
import { setTimeout as sleep } from 'node:timers/promises';
import { OneheadError, reasonOf } from '../errors.js';
import { TranscriptionError } from '../whisper/transcription/failure.js';
import type { Whisper } from '../whisper/whisper.js';
import { resultKey } from './digest.js';
import { isLasting } from './failures.js';
import { type LocalFile, LocalFiles } from './local.js';
import type { BatchProgress, Claim, Queue, Recording, Summary } from './queue.js';
import type { ResultRecord, Results, StoredJournal } from './results.js';

export interface WorkerOptions {
  /** Recordings processed at once. Default: as many as keep the device's rows busy, and two that are being read. */
  concurrency?: number;
  /** Milliseconds between saved parts of a journal. Shorter recordings have no journal. */
  journalInterval?: number;
  /** Milliseconds that running recordings have to finish after the worker is told to stop. */
  drain?: number;
  /** Ends when the queue is empty, instead of waiting for more. */
  untilEmpty?: boolean;
  /** Called for each recording, and for problems of the queue or the store. */
  onEvent?: (event: WorkerEvent) => void;
}

export type WorkerEvent =
  | { event: 'started'; recording: Recording; attempt: number; known: number }
  | { event: 'done'; recording: Recording; summary: Summary; warnings: readonly string[] }
  | { event: 'failed'; recording: Recording; attempt: number; reason: string; setAside: boolean }
  /** Another worker has it, or it was cancelled: nothing was written. */
  | { event: 'left'; recording: Recording; reason: 'lost' | 'cancelled' | 'stopped' }
  | { event: 'trouble'; message: string };

/** Milliseconds between attempts to reach a queue that is away. */
const patience = 1000;
/** Milliseconds that the queue has to answer after the worker was told to stop. */
const lastWords = 5000;

/** Ends the work on a recording early. */
class Left extends Error {
  readonly reason: 'lost' | 'cancelled' | 'stopped';

  constructor(reason: Left['reason']) {
    super(reason);
    this.reason = reason;
  }
}

/** A recording that is being processed. */
interface Work {
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
  readonly #works = new Set<Work>();
  readonly #files = new LocalFiles();
  #ended = false;

  constructor(queue: Queue, whisper: Whisper, model: string, results: Results, options: WorkerOptions = {}) {
    const { onEvent = () => {}, concurrency = whisper.model.windows + 2 } = options;
    this.#queue = queue;
    this.#whisper = whisper;
    this.#model = model;
    this.#results = results;
    this.#emit = onEvent;
    this.#options = { journalInterval: 20_000, drain: 60_000, untilEmpty: false, ...options, concurrency };
  }

  /**
   * Works until `signal`, or, with `untilEmpty`, until the queue is empty. After that it claims nothing more. Running
   * recordings have `drain` milliseconds to finish; unfinished ones are released with their journals.
   */
  async run(signal: AbortSignal): Promise<void> {
    this.#ended = false;
    const all = new Set<Promise<void>>();
    let wake = () => {};
    const stopped = () => wake();
    signal.addEventListener('abort', stopped, { once: true });
    while (!signal.aborted) {
      if (all.size >= this.#options.concurrency) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      const claim = await this.#claim(signal);
      if (claim) {
        const work = this.#work(claim).catch(() => {}); // only where the queue was given up
        all.add(work);
        void work.then(() => {
          all.delete(work);
          wake();
        });
      } else if (this.#options.untilEmpty && all.size === 0 && (await this.#isEmpty())) break;
    }
    signal.removeEventListener('abort', stopped);
    const timer = setTimeout(() => {
      for (const { stop } of this.#works) stop.abort(new Left('stopped'));
    }, this.#options.drain);
    // A queue that is away does not keep the process alive: unreleased claims expire by themselves.
    const waited = new AbortController();
    const late = sleep(this.#options.drain + lastWords, 'late', { signal: waited.signal }).catch(() => {});
    if ((await Promise.race([Promise.all(all), late])) === 'late') {
      this.#emit({
        event: 'trouble',
        message: 'The queue did not answer: running recordings return to it by themselves.',
      });
    }
    this.#ended = true;
    waited.abort();
    clearTimeout(timer);
    await this.#files.close();
  }

  /** The next recording; null if there is none, or the queue is away. */
  async #claim(signal: AbortSignal): Promise<Claim | null> {
    let stopped = () => {};
    let timer: NodeJS.Timeout | undefined;
    try {
      const asked = this.#queue.claim();
      const late = new Promise<null>((resolve) => {
        stopped = () => {
          timer = setTimeout(resolve, lastWords, null);
        };
        signal.addEventListener('abort', stopped, { once: true });
      });
      const claim = await Promise.race([asked, late]);
      if (!signal.aborted) return claim;
      // A later answer is ignored: its lock expires by itself.
      asked.catch(() => {});
      await Promise.race([claim?.release(), sleep(lastWords, null, { ref: false })]);
    } catch (error) {
      this.#emit({ event: 'trouble', message: `The queue did not answer: ${reasonOf(error)}.` });
      await sleep(patience, undefined, { signal }).catch(() => {});
    } finally {
      signal.removeEventListener('abort', stopped);
      clearTimeout(timer);
    }
    return null;
  }

  async #isEmpty(): Promise<boolean> {
    const counts = await this.#queue.counts().catch(() => null);
    return counts !== null && counts.waiting + counts.delayed + counts.active === 0;
  }

  /** Processes a claimed recording. Rejects only if the queue was away until the worker ended. */
  async #work(claim: Claim): Promise<void> {
    const work: Work = { claim, stop: new AbortController(), progress: undefined };
    this.#works.add(work);
    const timer = setInterval(() => void this.#extend(work), claim.lock / 3);
    const { recording, attempt } = claim;
    try {
      await this.#transcribe(work);
    } catch (error) {
      const left = work.stop.signal.aborted ? work.stop.signal.reason : error;
      if (left instanceof Left) {
        if (left.reason === 'stopped') await this.#insist(() => claim.release());
        this.#emit({ event: 'left', recording, reason: left.reason });
        return;
      }
      const reason = error instanceof OneheadError ? error.message : reasonOf(error);
      const setAside = isLasting(error);
      this.#emit({ event: 'failed', recording, attempt, reason, setAside });
      await this.#insist(() => (setAside ? claim.setAside(reason) : claim.fail(reason)));
    } finally {
      clearInterval(timer);
      this.#works.delete(work);
    }
  }

  /** Repeats a request to the queue until it answers, or the worker has ended. */
  async #insist<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (this.#ended) throw error;
        this.#emit({ event: 'trouble', message: `The queue did not answer: ${reasonOf(error)}.` });
        await sleep(patience);
      }
    }
  }

  async #extend({ claim, stop, progress }: Work): Promise<void> {
    try {
      const state = await claim.extend(progress);
      if (state !== 'held') stop.abort(new Left(state));
    } catch {
      // The queue is away. Others may claim the recording meanwhile; one of the two results will count.
    }
  }

  async #transcribe(work: Work): Promise<void> {
    const { claim, stop } = work;
    const { recording, attempt } = claim;
    const started = performance.now();
    const file = await this.#files.fetch(recording.source, stop.signal);
    try {
      const key = resultKey(file.digest, this.#model, recording.options);
      const journal = this.#results.journal(key, attempt);
      const summary = await this.#finish(work, file, key, journal).catch(async (error: unknown) => {
        await this.#breakOff(work, journal, error);
        throw error;
      });
      const elapsed = Math.round(performance.now() - started);
      if (!(await this.#insist(() => claim.acknowledge({ ...summary, elapsed })))) throw new Left('lost');
      this.#emit({ event: 'done', recording, summary: { ...summary, elapsed }, warnings: summary.warnings });
    } finally {
      await file.clean();
    }
  }

  /** Transcribes a file and stores its result and formats. */
  async #finish(work: Work, file: LocalFile, key: string, journal: StoredJournal) {
    const { claim } = work;
    const { recording, attempt } = claim;
    const there = await this.#results.find(key);
    const record = there ?? (await this.#decode(work, file, journal));
    // An attempt that lost its claim writes nothing.
    const state = await this.#insist(() => claim.extend());
    if (state !== 'held') throw new Left(state);
    const counts = there ?? (await this.#results.keep(key, record));
    await this.#results.write(recording, key, counts);
    await journal.remove();
    const { duration, incomplete, warnings } = counts.transcription;
    return { duration, key, repeated: there !== null, incomplete, attempt, warnings };
  }

  /** Saves the progress of a failed attempt for the next one, here or elsewhere. */
  async #breakOff({ claim, stop }: Work, journal: StoredJournal, error: unknown): Promise<void> {
    const left = stop.signal.aborted ? stop.signal.reason : error;
    try {
      if (!(left instanceof Left) || left.reason === 'stopped') await journal.flush();
      else if (left.reason === 'cancelled') await journal.remove();
      if (error instanceof TranscriptionError && isLasting(error)) {
        await this.#results.writePartial(claim.recording, error.partial);
      }
    } catch (trouble) {
      this.#emit({ event: 'trouble', message: (trouble as Error).message });
    }
  }

  async #decode(work: Work, file: LocalFile, journal: StoredJournal): Promise<ResultRecord> {
    const { claim, stop } = work;
    const { recording, attempt } = claim;
    if (attempt > 1) await journal.load();
    this.#emit({ event: 'started', recording, attempt, known: journal.size });
    const timer = setInterval(() => {
      journal.flush().catch((error: Error) => this.#emit({ event: 'trouble', message: error.message }));
    }, this.#options.journalInterval);
    try {
      const { timings, ...transcription } = await this.#whisper.transcribe(file.path, {
        ...recording.options,
        priority: 'batch',
        journal,
        signal: stop.signal,
        onProgress: ({ processed, total }) => {
          work.progress = { processed, total };
        },
      });
      // A result must not be stored under the digest of a file that has been replaced.
      await file.check();
      return { transcription };
    } finally {
      clearInterval(timer);
    }
  }
}
