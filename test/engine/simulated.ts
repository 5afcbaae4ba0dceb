/**
 * A runtime without a device: its jobs take simulated time, end in the order of the calls, and are checked and
 * recorded.
 */
import {
  type Runtime,
  type Sequence,
  type Slot,
  type StepRun,
  type Steps,
  type Submitted,
  submitted,
} from '../../lib/engine/runtime.js';

export interface SimulatedWindow {
  name: string;
  positions: number;
}

export interface SimulatedSearch {
  /** Steps until it ends; 0 if it ends at its start. */
  steps: number;
  rows?: number;
  /** Its start includes work on the host. */
  waits?: boolean;
}

export interface SimulatedFound {
  window: string;
  steps: number;
}

export interface Costs {
  /** Milliseconds. */
  encode: number;
  step: number;
}

export class SimulatedRuntime implements Runtime<SimulatedWindow, SimulatedSearch, SimulatedFound> {
  readonly positions: number;
  readonly rows: number;
  readonly encodeBatch: number;
  readonly costs: Costs;
  /** Milliseconds since the runtime was created. */
  time = 0;
  /** The executed jobs in order: 'encode a', 'start a', 'steps 3: a b', 'collect a', 'release a'. */
  readonly log: string[] = [];
  /** Called after each step with the time, so that tests can send requests over time. */
  onTime: (time: number) => void = () => {};
  /** If set, thrown by the next job. */
  failure: Error | null = null;
  /** The longest time between two steps of a row that is being decoded. */
  longestPause = 0;
  /** How often a job ended without another one in the queue, although rows were being decoded. */
  gaps = 0;
  /** The maximum number of encodings that waited behind the current job. */
  maximumEncodes = 0;
  #last = 0;
  #waiting = 0;
  #encodes = 0;
  #work: Promise<unknown> = Promise.resolve();
  readonly #windows = new Map<number, SimulatedWindow>();
  readonly #done = new Map<Sequence<SimulatedSearch>, number>();
  /** Rows that have ended and are not collected. */
  readonly #ended = new Set<Sequence<SimulatedSearch>>();
  readonly #released = new WeakSet<Sequence<SimulatedSearch>>();

  constructor({
    windows = 4,
    rows = 8,
    encodeBatch = 1,
    costs = { encode: 100, step: 2 },
  }: {
    windows?: number;
    rows?: number;
    encodeBatch?: number;
    costs?: Costs;
  } = {}) {
    this.positions = windows * 1500;
    this.rows = rows;
    this.encodeBatch = encodeBatch;
    this.costs = costs;
  }

  now = (): number => this.time;

  /** Lets the event loop run, so that requests that were sent meanwhile arrive. */
  async #passes(milliseconds: number): Promise<void> {
    this.time += milliseconds;
    this.onTime(this.time);
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** After all jobs that were queued before. */
  #next<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting += 1;
    const done = this.#work.then(async () => {
      this.#waiting -= 1;
      if (this.failure) throw this.failure;
      const result = await work();
      if (this.#waiting === 0 && this.#done.size > this.#ended.size) this.gaps += 1;
      return result;
    });
    this.#work = done.catch(() => {});
    return done;
  }

  isLost(error: unknown): boolean {
    return (error as { code?: string }).code === 'DEVICE_FAILED';
  }

  positionsOf(window: SimulatedWindow): number {
    return window.positions;
  }

  rowsOf({ rows = 1 }: SimulatedSearch): number {
    return rows;
  }

  waitsForStart({ waits = false }: SimulatedSearch): boolean {
    return waits;
  }

  #name({ slot }: Sequence<SimulatedSearch>): string {
    return this.#windows.get(slot.begin)!.name;
  }

  encode(windows: readonly { window: SimulatedWindow; slot: Slot }[]) {
    this.maximumEncodes = Math.max(this.maximumEncodes, ++this.#encodes);
    return this.#next(async () => {
      this.log.push(`encode ${windows.map(({ window }) => window.name).join(' ')}`);
      for (const { window, slot } of windows) {
        if (slot.begin < 0 || slot.begin + slot.positions > this.positions) throw new Error('A slot is outside.');
        this.#windows.set(slot.begin, window);
      }
      await this.#passes(this.costs.encode * windows.length);
      this.#encodes -= 1;
      return { elapsed: this.costs.encode * windows.length };
    });
  }

  start(sequences: readonly Sequence<SimulatedSearch>[]) {
    return this.#next(async () => {
      if (this.#done.size === 0) this.#last = this.time;
      for (const sequence of sequences) {
        if (this.#released.has(sequence)) continue;
        this.log.push(`start ${this.#name(sequence)}`);
        for (const other of this.#done.keys()) {
          const apart =
            other.rows.first + other.rows.count <= sequence.rows.first ||
            sequence.rows.first + sequence.rows.count <= other.rows.first;
          if (!apart) throw new Error('Two sequences have the same row.');
        }
        if (sequence.rows.first + sequence.rows.count > this.rows) throw new Error('A row is outside.');
        this.#done.set(sequence, 0);
      }
      const ended = sequences.filter(({ search }) => search.steps === 0);
      for (const sequence of ended) this.#ended.add(sequence);
      return { elapsed: 0, ended };
    });
  }

  step(
    sequences: readonly Sequence<SimulatedSearch>[],
    { times, shown }: { times: number; shown: readonly Sequence<SimulatedSearch>[] },
  ): StepRun<SimulatedSearch> {
    let stopped = false;
    const done = this.#next(async (): Promise<Steps<SimulatedSearch>> => {
      const hasEnded = (sequence: Sequence<SimulatedSearch>) => this.#done.get(sequence)! >= sequence.search.steps;
      const decoded = () => sequences.filter((sequence) => this.#done.has(sequence) && !hasEnded(sequence));
      const names = decoded().map((sequence) => this.#name(sequence));
      const before = names.length;
      let steps = 0;
      while (steps < times && !stopped && decoded().length === before && before > 0) {
        for (const sequence of decoded()) this.#done.set(sequence, this.#done.get(sequence)! + 1);
        await this.#passes(this.costs.step);
        this.longestPause = Math.max(this.longestPause, this.time - this.#last);
        this.#last = this.time;
        steps += 1;
      }
      if (steps > 0) this.log.push(`steps ${steps}: ${names.join(' ')}`);
      const ended = sequences.filter(
        (sequence) => this.#done.has(sequence) && hasEnded(sequence) && !this.#ended.has(sequence),
      );
      for (const sequence of ended) this.#ended.add(sequence);
      const written = shown.map((sequence) => {
        const tokens = Array.from({ length: this.#done.get(sequence) ?? 0 }, (_, i) => i);
        return { tokens, logProbabilities: tokens.map(() => 0), noSpeechProbability: 0 };
      });
      return { elapsed: steps * this.costs.step, steps, ended, written };
    });
    return {
      done,
      stop: () => {
        stopped = true;
      },
    };
  }

  collect(sequence: Sequence<SimulatedSearch>): Submitted<SimulatedFound> {
    if (!this.#ended.has(sequence)) throw new Error('What is collected has not ended.');
    this.log.push(`collect ${this.#name(sequence)}`);
    const found = { window: this.#name(sequence), steps: this.#done.get(sequence)! };
    this.#done.delete(sequence);
    this.#ended.delete(sequence);
    return submitted(Promise.resolve(), () => found);
  }

  /** Released at once, even if the device is working on the rows: its results are then unused. */
  release(sequences: readonly Sequence<SimulatedSearch>[]): void {
    for (const sequence of sequences) {
      this.log.push(`release ${this.#name(sequence)}`);
      this.#done.delete(sequence);
      this.#released.add(sequence);
    }
  }

  /** Sequences whose rows were neither collected nor released. */
  get left(): number {
    return this.#done.size;
  }
}
