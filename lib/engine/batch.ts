/**
 * The sequences that are decoded together. Of their steps the device has a run under way and, where more than one
 * sequence is left, another behind it: while the host reads what the last run gave and takes in who comes, the device
 * goes on. A run whose sequences are not those of now is stopped, which takes one step, and one of those of now stands
 * behind it by then.
 */
import { publish } from './figures.js';
import type { Ranges } from './ranges.js';
import type { Runtime, Sequence, StepRun, Steps, Written } from './runtime.js';
import type { Running } from './tasks.js';

/** What the engine counts of the batch. */
export interface BatchCounts {
  searches: number;
  steps: number;
  rowSteps: number;
}

/** What the batch tells its engine. */
export interface BatchEvents {
  now(): number;
  /** Steps of so many rows were done, in so many milliseconds of the device; no step: prompts were read. */
  worked(milliseconds: number, steps: number, rows: number): void;
  /** A search has ended, that took so many steps. */
  ended(steps: number): void;
  /** Something changed: rows are free, work has ended. */
  changed(): void;
  /** A run of steps has ended, and nobody has been told yet of what it found: the device may have nothing to do. */
  ran(): void;
  failed(error: unknown): void;
}

interface Submitted<Search> {
  readonly run: StepRun<Search>;
  /** The state of the batch that its sequences are of. */
  readonly version: number;
  stopped: boolean;
}

export class Batch<Search, Found> {
  readonly counts: BatchCounts = { searches: 0, steps: 0, rowSteps: 0 };
  readonly #runtime: Pick<Runtime<never, Search, Found>, 'start' | 'waitsForStart' | 'step' | 'collect' | 'release'>;
  readonly #rows: Ranges;
  readonly #events: BatchEvents;
  #running: Running<Search, Found>[] = [];
  /** Grows whenever somebody joins or leaves. */
  #version = 0;
  #runs: Submitted<Search>[] = [];
  /** Starts and collections that the device has not done yet. */
  #others = 0;
  /** Starts that the rest waits for. */
  #starting = 0;

  constructor(
    runtime: Pick<Runtime<never, Search, Found>, 'start' | 'waitsForStart' | 'step' | 'collect' | 'release'>,
    rows: Ranges,
    events: BatchEvents,
  ) {
    this.#runtime = runtime;
    this.#rows = rows;
    this.#events = events;
  }

  /** Rows that are decoded. */
  get size(): number {
    return this.#running.reduce((sum, { sequence }) => sum + sequence.rows.count, 0);
  }

  /** Whether nobody is decoded. */
  get empty(): boolean {
    return this.#running.length === 0;
  }

  /** Whether the device has nothing to do for the batch. */
  get idle(): boolean {
    return this.#runs.length === 0 && this.#others === 0;
  }

  /** Whether nobody may join now. */
  get isStarting(): boolean {
    return this.#starting > 0;
  }

  /** Ends the runs of steps that the device has, since something else comes first. */
  pause(): void {
    for (const one of this.#runs) stop(one);
  }

  /** Prefills sequences, which are then decoded with the others. */
  join(started: readonly Running<Search, Found>[]): void {
    this.pause();
    this.#running.push(...started);
    this.#version += 1;
    const waits = started.some(({ sequence }) => this.#runtime.waitsForStart(sequence.search));
    this.#starting += Number(waits);
    this.#await(this.#runtime.start(started.map(({ sequence }) => sequence)), ({ elapsed, ended }) => {
      this.#starting -= Number(waits);
      this.#events.worked(elapsed, 0, 0);
      this.#finish(ended);
    });
  }

  /** Frees the rows of those that were given up. */
  dropAbandoned(): void {
    const dropped = this.#running.filter((one) => one.abandoned || one.request.signal?.aborted);
    if (dropped.length === 0) return;
    this.#running = this.#running.filter((one) => !dropped.includes(one));
    this.#version += 1;
    this.#runtime.release(dropped.map(({ sequence }) => sequence));
    for (const { sequence } of dropped) this.#rows.give(sequence.rows.first);
  }

  /**
   * Sees to it that the device has steps to do, `first` of them at most in the run under way and `longest` in the next.
   */
  refill(first: number, longest: number): void {
    let own = 0;
    for (const one of this.#runs) {
      if (one.version !== this.#version) stop(one);
      else if (!one.stopped) own += 1;
    }
    if (this.empty || this.isStarting) return;
    if (own === 0) this.#submit(first);
    // A run of one sequence leaves nothing behind for another, unless it ends before the sequence does.
    if (own < 2 && (this.#running.length > 1 || first < longest || this.isWatched)) this.#submit(longest);
  }

  /** Rejects all. */
  close(error: unknown): void {
    this.pause();
    for (const { reject } of this.#running) reject(error);
    this.#running = [];
  }

  /** Whether somebody wants to see text grow. */
  get isWatched(): boolean {
    return this.#watched.length > 0;
  }

  get #watched(): Running<Search, Found>[] {
    return this.#running.filter(({ onTokens }) => onTokens);
  }

  /** Calls `then` with what work gives; an error of either is the engine's. */
  #await<T>(work: Promise<T>, then: (value: T) => void): void {
    this.#others += 1;
    const done = (value: T) => {
      this.#others -= 1;
      then(value);
      this.#events.changed();
    };
    work.then(done).catch((error: unknown) => this.#events.failed(error));
  }

  #submit(times: number): void {
    const members = [...this.#running];
    const shown = this.#watched;
    const sequences = members.map(({ sequence }) => sequence);
    const run = this.#runtime.step(sequences, { times, shown: shown.map(({ sequence }) => sequence) });
    const submitted: Submitted<Search> = { run, version: this.#version, stopped: false };
    this.#runs.push(submitted);
    const rows = sequences.reduce((sum, sequence) => sum + sequence.rows.count, 0);
    const done = (steps: Steps<Search>) => {
      this.#runs.splice(this.#runs.indexOf(submitted), 1);
      for (const one of members) one.steps += steps.steps;
      this.#stepped(steps, rows, shown);
      this.#events.ran();
    };
    run.done.then(done).catch((error: unknown) => this.#events.failed(error));
  }

  #stepped({ elapsed, steps, ended, written }: Steps<Search>, rows: number, shown: readonly Running<Search, Found>[]) {
    if (steps > 0) {
      this.counts.steps += steps;
      this.counts.rowSteps += steps * rows;
      this.#events.worked(elapsed, steps, rows);
      publish({ event: 'steps', steps, rows, elapsed });
      for (const [index, one] of shown.entries()) this.#show(one, written[index]);
    }
    this.#finish(ended);
  }

  /** Tells who wants to see it of the text so far. */
  #show(one: Running<Search, Found>, written: Written): void {
    if (one.request.signal?.aborted || !this.#running.includes(one)) return;
    try {
      one.onTokens!(written.tokens, written);
    } catch (error) {
      one.abandoned = true;
      one.reject(error);
    }
  }

  #finish(ended: readonly Sequence<Search>[]): void {
    for (const sequence of ended) {
      const place = this.#running.findIndex((one) => one.sequence === sequence);
      if (place < 0) continue;
      const [running] = this.#running.splice(place, 1);
      this.#version += 1;
      this.counts.searches += 1;
      this.#events.ended(running.steps);
      // Collecting may take the device: what runs is not waited for.
      this.#await(this.#runtime.collect(sequence), (found) => {
        running.waits.end(this.#events.now());
        running.resolve(found);
      });
      this.#rows.give(sequence.rows.first);
    }
  }
}

function stop(one: Submitted<unknown>): void {
  if (one.stopped) return;
  one.stopped = true;
  one.run.stop();
}
