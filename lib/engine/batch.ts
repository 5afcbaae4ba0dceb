/**
 * The sequences that are decoded together. The device has one run of their steps under way and another one queued
 * behind it (unless one sequence is left), so that it goes on while the host reads the results of the last run. When a
 * sequence joins or leaves, the runs of the earlier batch are stopped, which takes one step, and runs of the new batch
 * are queued.
 */
import { publish } from './figures.js';
import type { Ranges } from './ranges.js';
import type { Runtime, Sequence, StepRun, Steps, Submitted, Work, Written } from './runtime.js';
import type { Encoding, RunningSearch } from './tasks.js';
import { Turns } from './turns.js';

/** Totals of a batch. */
export interface BatchCounts {
  searches: number;
  steps: number;
  /** The sum of the rows of all steps. */
  rowSteps: number;
}

/** The batch's calls to its engine. */
export interface BatchEvents {
  now(): number;
  /** Steps of so many rows were done. Milliseconds are the device's; without steps, they are of a prefill. */
  worked(milliseconds: number, steps: number, rows: number): void;
  /** A search has ended after so many steps. */
  ended(steps: number): void;
  /** Work has ended or rows are free. */
  changed(): void;
  /** A run has ended, and no caller has its result yet: the device may have nothing to do. */
  ran(): void;
  /** Work has failed. The searches of this work have been rejected. */
  failed(error: unknown): void;
}

/** A run of steps on the device. */
interface SubmittedRun<Search> {
  readonly run: StepRun<Search>;
  /** The batch's version when it was submitted. */
  readonly version: number;
  isStopped: boolean;
}

type BatchRuntime<Search, Result> = Pick<
  Runtime<never, Search, Result>,
  'start' | 'waitsForStart' | 'step' | 'collect' | 'release' | 'isLost'
>;

export class Batch<Search, Result> {
  readonly counts: BatchCounts = { searches: 0, steps: 0, rowSteps: 0 };
  readonly #runtime: BatchRuntime<Search, Result>;
  readonly #rows: Ranges;
  readonly #events: BatchEvents;
  #running: RunningSearch<Search, Result>[] = [];
  /** Searches that have ended and whose results are being read. They have no rows. */
  readonly #collecting = new Set<RunningSearch<Search, Result>>();
  /** Grows whenever a sequence joins or leaves. */
  #version = 0;
  #runs: SubmittedRun<Search>[] = [];
  /** The error of `close`. */
  #endedBy: { error: unknown } | null = null;
  /** Callers get their results one after another, each in its turn. */
  readonly #results = new Turns();
  /** The number of starts and collections under way. */
  #otherWork = 0;
  /** The number of starts under way that all others wait for. */
  #blockingStarts = 0;

  /** @param rows The allocator of rows, to which those of ended sequences are returned. */
  constructor(runtime: BatchRuntime<Search, Result>, rows: Ranges, events: BatchEvents) {
    this.#runtime = runtime;
    this.#rows = rows;
    this.#events = events;
  }

  /** The number of rows in the batch. */
  get size(): number {
    return this.#running.reduce((sum, { sequence }) => sum + sequence.rows.count, 0);
  }

  get isEmpty(): boolean {
    return this.#running.length === 0;
  }

  /** True if the device has no work of the batch. */
  get isIdle(): boolean {
    return this.#runs.length === 0 && this.#otherWork === 0;
  }

  /** True while a start is under way that all others wait for: nobody can join. */
  get isStarting(): boolean {
    return this.#blockingStarts > 0;
  }

  /** The number of steps after which a caller wants the text so far: 0 for now, infinity for never. */
  get stepsToLook(): number {
    const watched = this.#running.filter(({ onTokens, until }) => onTokens || until);
    return Math.min(...watched.map(({ watchFrom, steps }) => Math.max(0, watchFrom - steps)));
  }

  get #watched(): RunningSearch<Search, Result>[] {
    return this.#running.filter((search) => (search.onTokens || search.until) && search.steps >= search.watchFrom);
  }

  /** Ends the submitted runs within a step, so that other work can follow. */
  pause(): void {
    for (const submitted of this.#runs) stop(submitted);
  }

  /** Prefills sequences and adds them to the batch. If the runtime refuses several, each is started alone. */
  join(started: readonly RunningSearch<Search, Result>[]): void {
    this.pause();
    this.#running.push(...started);
    this.#version += 1;
    let isBlocking: boolean;
    let work: Promise<Work & { ended: Sequence<Search>[] }>;
    try {
      if (this.#endedBy) throw this.#endedBy.error;
      isBlocking = started.some(({ sequence }) => this.#runtime.waitsForStart(sequence.search));
      work = this.#runtime.start(started.map(({ sequence }) => sequence));
    } catch (error) {
      if (started.length === 1 || this.#endedBy || this.#runtime.isLost(error)) {
        this.#reject(started, error);
      } else {
        this.#running = this.#running.filter((search) => !started.includes(search));
        for (const search of started) this.join([search]);
      }
      return;
    }
    const blocks = Number(isBlocking);
    this.#blockingStarts += blocks;
    this.#track(
      work,
      ({ elapsed, ended }) => {
        this.#blockingStarts -= blocks;
        this.#events.worked(elapsed, 0, 0);
        this.#finish(ended);
      },
      (error) => {
        this.#blockingStarts -= blocks;
        this.#reject(started, error);
      },
    );
  }

  /** Removes cancelled searches and frees their rows. */
  dropAbandoned(): void {
    this.#drop(this.#running.filter((search) => search.isAbandoned || search.request.signal?.aborted));
  }

  /** Rejects the searches of a window that could not be encoded. */
  rejectOf(encoding: Encoding, error: unknown): void {
    for (const search of this.#collecting) if (search.encoding === encoding) search.reject(error);
    this.#reject(
      this.#running.filter((search) => search.encoding === encoding),
      error,
    );
  }

  /** Removes searches and frees their rows. */
  #drop(dropped: readonly RunningSearch<Search, Result>[]): void {
    if (dropped.length === 0) return;
    this.#running = this.#running.filter((search) => !dropped.includes(search));
    this.#version += 1;
    for (const { sequence, waitTime } of dropped) {
      waitTime.end(this.#events.now());
      this.#rows.release(sequence.rows.first);
    }
    this.#runtime.release(dropped.map(({ sequence }) => sequence));
  }

  /** Rejects those of the searches that still run, whose work has failed. */
  #reject(searches: readonly RunningSearch<Search, Result>[], error: unknown): void {
    const running = searches.filter((search) => this.#running.includes(search));
    for (const search of running) search.reject(error);
    this.#drop(running);
    this.#events.failed(error);
  }

  /**
   * Submits runs until the device has one under way and one behind it: of at most `next` steps if none is under way,
   * and of at most `behind` steps behind it. Runs of an earlier batch are stopped.
   */
  refill({ next, behind }: { next: number; behind: number }): void {
    let current = 0;
    for (const submitted of this.#runs) {
      if (submitted.version !== this.#version) stop(submitted);
      else if (!submitted.isStopped) current += 1;
    }
    if (this.isEmpty || this.isStarting) return;
    if (current === 0) this.#submit(next);
    // The run of a lone sequence ends with it and leaves nothing to do, unless its steps run out before.
    if (current < 2 && (this.#running.length > 1 || next < behind || this.stepsToLook === 0)) this.#submit(behind);
  }

  /** Rejects all searches. */
  close(error: unknown): void {
    this.#endedBy = { error };
    this.pause();
    for (const { reject } of [...this.#running, ...this.#collecting]) reject(error);
    for (const { sequence } of this.#running) this.#rows.release(sequence.rows.first);
    this.#running = [];
    this.#collecting.clear();
  }

  /** Calls `done` with the result of device work, or `failed` with its error. */
  #track<T>(work: Promise<T>, done: (value: T) => void, failed: (error: unknown) => void): void {
    this.#otherWork += 1;
    const ended = () => {
      this.#otherWork -= 1;
      this.#events.changed();
    };
    void work.then(done, failed).then(ended, ended);
  }

  #submit(times: number): void {
    const members = [...this.#running];
    const watched = this.#watched;
    const sequences = members.map(({ sequence }) => sequence);
    let run: StepRun<Search>;
    try {
      run = this.#runtime.step(sequences, { times, shown: watched.map(({ sequence }) => sequence) });
    } catch (error) {
      this.#reject(members, error);
      return;
    }
    const submitted: SubmittedRun<Search> = { run, version: this.#version, isStopped: false };
    this.#runs.push(submitted);
    const rows = sequences.reduce((sum, sequence) => sum + sequence.rows.count, 0);
    const done = (result: Steps<Search>) => {
      this.#runs.splice(this.#runs.indexOf(submitted), 1);
      for (const member of members) member.steps += result.steps;
      this.#stepped(result, rows, watched);
      this.#events.ran();
    };
    const failed = (error: unknown) => {
      this.#runs.splice(this.#runs.indexOf(submitted), 1);
      this.#reject(members, error);
      this.#events.ran();
    };
    void run.done.then(done, failed);
  }

  #stepped(
    { elapsed, steps, ended, written }: Steps<Search>,
    rows: number,
    watched: readonly RunningSearch<Search, Result>[],
  ): void {
    if (steps > 0) {
      this.counts.steps += steps;
      this.counts.rowSteps += steps * rows;
      this.#events.worked(elapsed, steps, rows);
      publish({ event: 'steps', steps, rows, elapsed });
      for (const [index, search] of watched.entries()) this.#show(search, written[index]);
    }
    this.#finish(ended);
  }

  /** Passes the text so far to the caller. A result or an error of the callbacks ends the search. */
  #show(search: RunningSearch<Search, Result>, written: Written): void {
    if (search.request.signal?.aborted || !this.#running.includes(search)) return;
    try {
      search.onTokens?.(written.tokens, written);
      const result = search.until?.(written);
      if (result === undefined) return;
      search.isAbandoned = true;
      search.resolve(result);
    } catch (error) {
      search.isAbandoned = true;
      search.reject(error);
    }
  }

  #finish(ended: readonly Sequence<Search>[]): void {
    for (const sequence of ended) {
      const index = this.#running.findIndex((search) => search.sequence === sequence);
      if (index < 0) continue;
      const [search] = this.#running.splice(index, 1);
      this.#version += 1;
      this.counts.searches += 1;
      this.#events.ended(search.steps);
      this.#collect(search);
      this.#rows.release(sequence.rows.first);
    }
  }

  /** Reads the result of a search. The reads are queued behind the runs under way, which go on. */
  #collect(search: RunningSearch<Search, Result>): void {
    const failed = (error: unknown) => {
      this.#collecting.delete(search);
      search.waitTime.end(this.#events.now());
      search.reject(error);
      this.#events.failed(error);
    };
    let submitted: Submitted<Result>;
    try {
      submitted = this.#runtime.collect(search.sequence);
    } catch (error) {
      failed(error);
      return;
    }
    this.#collecting.add(search);
    const found = submitted.data.then(async (data) => {
      const result = submitted.finish(data);
      await this.#results.turn();
      return result;
    });
    this.#track(
      found,
      (result) => {
        this.#collecting.delete(search);
        search.waitTime.end(this.#events.now());
        search.resolve(result);
      },
      failed,
    );
  }
}

function stop(submitted: SubmittedRun<unknown>): void {
  if (submitted.isStopped) return;
  submitted.isStopped = true;
  submitted.run.stop();
}
