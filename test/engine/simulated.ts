/** A runtime without a device: its work takes simulated time, and everything that it is asked to do is checked and kept. */
import type { Runtime, Sequence, Slot } from '../../lib/engine/runtime.js';

export interface SimulatedWindow {
  name: string;
  positions: number;
}

export interface SimulatedSearch {
  /** Steps until it ends; 0: at once. */
  steps: number;
  rows?: number;
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
  /** Milliseconds since it was made. */
  time = 0;
  /** What was done, in order: 'encode a', 'start a', 'steps 3: a b', 'collect a', 'release a'. */
  readonly log: string[] = [];
  /** Called after each step, with what the clock says: where a test sends requests as time goes on. */
  onTime: (time: number) => void = () => {};
  /** Thrown by the next call, where set. */
  failure: Error | null = null;
  /** The longest time between two steps of a row that is being decoded. */
  longestPause = 0;
  #last = 0;
  readonly #windows = new Map<number, SimulatedWindow>();
  readonly #done = new Map<Sequence<SimulatedSearch>, number>();
  #busy = false;

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

  /** Lets the event loop turn, so that what was sent while time passed is there. */
  async #passes(milliseconds: number): Promise<void> {
    this.time += milliseconds;
    this.onTime(this.time);
    await new Promise((resolve) => setImmediate(resolve));
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#busy) throw new Error('The runtime was called while it was at work.');
    this.#busy = true;
    try {
      if (this.failure) throw this.failure;
      return await work();
    } finally {
      this.#busy = false;
    }
  }

  positionsOf(window: SimulatedWindow): number {
    return window.positions;
  }

  rowsOf({ rows = 1 }: SimulatedSearch): number {
    return rows;
  }

  #name({ slot }: Sequence<SimulatedSearch>): string {
    return this.#windows.get(slot.begin)!.name;
  }

  encode(windows: readonly { window: SimulatedWindow; slot: Slot }[]) {
    return this.#alone(async () => {
      this.log.push(`encode ${windows.map(({ window }) => window.name).join(' ')}`);
      for (const { window, slot } of windows) {
        if (slot.begin < 0 || slot.begin + slot.positions > this.positions) throw new Error('A slot is outside.');
        this.#windows.set(slot.begin, window);
      }
      await this.#passes(this.costs.encode * windows.length);
      return { elapsed: this.costs.encode * windows.length };
    });
  }

  start(sequences: readonly Sequence<SimulatedSearch>[]) {
    return this.#alone(async () => {
      for (const sequence of sequences) {
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
      if (this.#done.size === sequences.length) this.#last = this.time;
      return { elapsed: 0, ended: sequences.filter(({ search }) => search.steps === 0) };
    });
  }

  step(sequences: readonly Sequence<SimulatedSearch>[], { times, stop }: { times: number; stop: AbortSignal }) {
    return this.#alone(async () => {
      const names = sequences.map((sequence) => this.#name(sequence)).join(' ');
      let steps = 0;
      let ended: Sequence<SimulatedSearch>[] = [];
      while (steps < times && ended.length === 0 && !(steps > 0 && stop.aborted)) {
        await this.#passes(this.costs.step);
        this.longestPause = Math.max(this.longestPause, this.time - this.#last);
        this.#last = this.time;
        steps += 1;
        for (const sequence of sequences) this.#done.set(sequence, this.#done.get(sequence)! + 1);
        ended = sequences.filter((sequence) => this.#done.get(sequence)! >= sequence.search.steps);
      }
      this.log.push(`steps ${steps}: ${names}`);
      return { elapsed: steps * this.costs.step, steps, ended };
    });
  }

  written(sequences: readonly Sequence<SimulatedSearch>[]) {
    return this.#alone(async () =>
      sequences.map((sequence) => {
        const tokens = Array.from({ length: this.#done.get(sequence)! }, (_, i) => i);
        return { tokens, logProbabilities: tokens.map(() => 0), noSpeechProbability: 0 };
      }),
    );
  }

  collect(sequences: readonly Sequence<SimulatedSearch>[]) {
    return this.#alone(async () =>
      sequences.map((sequence) => {
        this.log.push(`collect ${this.#name(sequence)}`);
        const steps = this.#done.get(sequence)!;
        this.#done.delete(sequence);
        return { window: this.#name(sequence), steps };
      }),
    );
  }

  release(sequences: readonly Sequence<SimulatedSearch>[]) {
    return this.#alone(async () => {
      for (const sequence of sequences) {
        this.log.push(`release ${this.#name(sequence)}`);
        this.#done.delete(sequence);
      }
    });
  }

  /** Sequences whose rows were neither collected nor released. */
  get left(): number {
    return this.#done.size;
  }
}
