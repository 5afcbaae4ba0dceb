import { OneheadError } from '../errors.js';
import type { NativeProgram, NativeRunResult } from './native.js';
import type { Tensor } from './tensor.js';
import { nativePieces, type ReadData, type TransferPieces } from './transfer.js';

/** Flags on the device that end a run. */
export interface RunCondition {
  /** int32; 0 is not set. */
  flags: Tensor;
  /** Ends when every flag is set, when one is, or when one more is set than when the run began. */
  when: 'all' | 'any' | 'another';
  /** With 'another': nothing is run where so many are set already; all of them unless given. */
  most?: number;
}

export interface RunOptions {
  /** Number of replays. */
  times?: number;
  /**
   * The run ends early once the condition holds; a tensor alone stands for all of its flags. Where it holds already,
   * nothing is run. A device may look only now and then, and do up to two replays more.
   */
  until?: Tensor | RunCondition;
  /** Ends the run at once, within a replay; the promise then rejects with the signal's reason. */
  signal?: AbortSignal;
  /**
   * Ends the run early behind the replay under way, those that a device has queued (two at most) done: the promise
   * resolves as usual.
   */
  stop?: AbortSignal;
}

/** Writes and reads in the same job as a run. */
export interface RunPieces extends TransferPieces {
  /**
   * Tensors with a row for each flag of `until`: of the rows whose flag is set when the run has ended, all of these are
   * read.
   */
  rows?: readonly Tensor[];
}

/** The result of a run. */
export interface Replays {
  times: number;
  /** Milliseconds of all replays on the device's own clock. */
  elapsed: number;
  /** Results of `reads`, after the run. */
  reads: ReadData[];
  /** Results of `rows`. */
  rows: NonNullable<NativeRunResult['rows']>;
}

/** A run that was submitted. */
export interface Run {
  done: Promise<Replays>;
  /** Ends the run early, as `RunOptions.stop` does; one that has not begun does nothing but its writes and reads. */
  stop(): void;
  /** Ends the run at once, within a replay: what it would have given is undefined. */
  cancel(): void;
}

/** Time that one recorded operation took. */
export interface OperationTime {
  name: string;
  label: string;
  /** Mean of a replay. */
  microseconds: number;
  /**
   * The operation's stages, where the device can tell them apart: 'scores', 'softmax' and 'values' of multi-head
   * attention. 'layer': a GPU did this operation and the five after it, a decoder layer, in one kernel; the five have
   * no time of their own.
   */
  parts?: { name: string; microseconds: number }[];
}

function replays({ times, elapsed, reads, rows = [] }: NativeRunResult): Replays {
  if (!reads) {
    throw new OneheadError(
      'ADDON_UNAVAILABLE',
      "onehead's native addon is older than the package; build it again with `npm run build:native`.",
    );
  }
  return { times, elapsed: elapsed / 1000, reads, rows };
}

/** A recorded list of operations that the device replays on its own thread. */
export class Program {
  readonly name: string;
  readonly #native: NativeProgram;

  /** @internal */
  constructor(name: string, native: NativeProgram) {
    this.name = name;
    this.#native = native;
  }

  /** The operations in order, with the labels they were recorded under. */
  get operations(): readonly { name: string; label: string }[] {
    return this.#native.operations;
  }

  /**
   * Bytes that this program's temporaries need. All programs of a device have theirs in one arena, since they run one
   * after another.
   */
  get arenaBytes(): number {
    return this.#native.arenaBytes;
  }

  /** Makes the program ready, weights laid out and all; `run` does so by itself when it was not done before. */
  prepare(): Promise<void> {
    return this.#native.prepare();
  }

  /**
   * Replays the program and gives the number of replays done; with `until`, those that it took until all flags were
   * set.
   */
  async run(options: RunOptions = {}): Promise<number> {
    return (await this.replay(options)).times;
  }

  /** Like `run`; also returns the milliseconds of all replays on the device's own clock. */
  async replay({ signal, stop, ...options }: RunOptions = {}): Promise<Pick<Replays, 'times' | 'elapsed'>> {
    signal?.throwIfAborted();
    const run = this.submit({ ...options, ...(stop?.aborted && { times: 0 }) });
    signal?.addEventListener('abort', run.cancel, { once: true });
    stop?.addEventListener('abort', run.stop, { once: true });
    try {
      const { times, elapsed } = await run.done;
      signal?.throwIfAborted();
      return { times, elapsed };
    } finally {
      signal?.removeEventListener('abort', run.cancel);
      stop?.removeEventListener('abort', run.stop);
    }
  }

  /** Writes, replays the program, and reads, in one piece of work. */
  submit({ times = 1, until, rows, ...pieces }: Omit<RunOptions, 'signal' | 'stop'> & RunPieces = {}): Run {
    const { flags, when, most }: RunCondition | { flags?: undefined; when?: undefined; most?: undefined } =
      until && 'flags' in until ? until : until ? { flags: until, when: 'all' } : {};
    const { promise, cancel, stop } = this.#native.run({
      times,
      until: flags?.native,
      when,
      most,
      trace: false,
      ...nativePieces(pieces),
      rows: rows?.map(({ native }) => native),
    });
    return { done: promise.then(replays), stop, cancel };
  }

  /** Replays the program and gives the microseconds of one replay on the device's own clock. */
  async time(times = 1): Promise<number> {
    const started = performance.now();
    const result = await this.#native.run({ times, trace: false }).promise;
    return (result.elapsed || 1000 * (performance.now() - started)) / Math.max(1, result.times);
  }

  /** Replays the program and times each operation. */
  async trace(times = 1): Promise<OperationTime[]> {
    const result = await this.#native.run({ times, trace: true }).promise;
    const replays = Math.max(1, result.times);
    return this.operations.map(({ name, label }, index) => {
      const parts = result.parts?.filter((part) => part.operation === index) ?? [];
      return {
        name,
        label,
        microseconds: (result.microseconds?.[index] ?? 0) / replays,
        ...(parts.length > 0 && {
          parts: parts.map((part) => ({ name: part.name, microseconds: part.microseconds / replays })),
        }),
      };
    });
  }

  /** Frees the program's memory. A run under way ends first. */
  dispose(): void {
    this.#native.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
