import { checkSignal, listOf, refuse } from '../checks.js';
import { OneheadError } from '../errors.js';
import { onAbort } from '../signals.js';
import { nativeTensor, optionsOf } from './arguments.js';
import type { NativeProgram, NativeRunOptions, NativeRunResult } from './native.js';
import { Tensor } from './tensor.js';
import { nativePieces, type ReadData, type TransferPieces } from './transfer.js';

/** Flags on the device that end a run. */
export interface RunCondition {
  /** int32; a flag is set if it is not 0. */
  flags: Tensor;
  /** Ends the run when all flags are set, when any is set, or when more are set than at the start of the run. */
  when: 'all' | 'any' | 'another';
  /** With 'another': also ends the run if at least this many flags are set. Default: the number of flags. */
  most?: number;
}

export interface RunOptions {
  /** Maximum number of replays. Default: 1. */
  times?: number;
  /**
   * Ends the run early when the condition holds; a tensor alone means that all its flags are set. If the condition
   * holds already, nothing is replayed. A GPU may do up to two more replays before it detects the condition.
   */
  until?: Tensor | RunCondition;
  /** Aborts the run within a replay. The promise then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Ends the run early, after replays that have begun (up to three on a GPU). The promise resolves as usual. */
  stop?: AbortSignal;
}

/** Writes and reads in the same job as a run. */
export interface RunPieces extends TransferPieces {
  /** Tensors with one row for each flag of `until`. The rows whose flag is set at the end of the run are read. */
  rows?: readonly Tensor[];
}

/** The result of a run. */
export interface Replays {
  /** Number of replays done. */
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
  /** Ends the run early, as `RunOptions.stop` does. A run that has not begun still does its writes and reads. */
  stop(): void;
  /** Aborts the run within a replay. What it has computed is undefined. */
  cancel(): void;
}

/** The time of one recorded operation. */
export interface OperationTime {
  name: string;
  label: string;
  /** Mean over the replays. */
  microseconds: number;
  /**
   * The operation's stages, if the device times them separately: 'scores', 'softmax' and 'values' of multi-head
   * attention.
   */
  parts?: { name: string; microseconds: number }[];
}

function replays({ times, elapsed, reads, rows = [] }: NativeRunResult): Replays {
  if (!reads) {
    throw new OneheadError(
      'ADDON_UNAVAILABLE',
      "onehead's native addon is older than the package; rebuild it with `npm run build:native`.",
    );
  }
  return { times, elapsed: elapsed / 1000, reads, rows };
}

/** Returns the arguments of the addon for the end of a run. */
function conditionOf(until: Tensor | RunCondition | undefined): Pick<NativeRunOptions, 'until' | 'when' | 'most'> {
  if (until === undefined) return {};
  if (until instanceof Tensor) return { until: until.native, when: 'all' };
  const { flags, when, most } = optionsOf('until', until);
  if (when === undefined) refuse('until.when', "'all', 'any' or 'another'", when);
  return { until: nativeTensor('until.flags', flags), when, most };
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

  /** The recorded operations in order, with their labels. */
  get operations(): readonly { name: string; label: string }[] {
    return this.#native.operations;
  }

  /**
   * Bytes of this program's temporaries. All programs of a device share one arena, since they run one after another.
   */
  get arenaBytes(): number {
    return this.#native.arenaBytes;
  }

  /** Allocates memory and lays out weights. The first `run` does this if it has not been done. */
  prepare(): Promise<void> {
    return this.#native.prepare();
  }

  /** Replays the program. Returns the number of replays done, which may be less than `times` with `until` or `stop`. */
  async run(options: RunOptions = {}): Promise<number> {
    return (await this.replay(options)).times;
  }

  /** Replays the program. Returns the number of replays and their milliseconds on the device's own clock. */
  async replay(given: RunOptions = {}): Promise<Pick<Replays, 'times' | 'elapsed'>> {
    const { signal: aborts, stop: stops, ...options } = optionsOf('options', given);
    const [signal, stop] = [checkSignal(aborts), checkSignal(stops, 'stop')];
    signal?.throwIfAborted();
    const run = this.submit({ ...options, ...(stop?.aborted && { times: 0 }) });
    const removals = [signal && onAbort(signal, run.cancel), stop && onAbort(stop, run.stop)];
    try {
      const { times, elapsed } = await run.done;
      signal?.throwIfAborted();
      return { times, elapsed };
    } finally {
      for (const remove of removals) remove?.();
    }
  }

  /** Submits one job that writes, replays the program, and reads. */
  submit(options: Omit<RunOptions, 'signal' | 'stop'> & RunPieces = {}): Run {
    const { times = 1, until, rows, ...pieces } = optionsOf('options', options);
    const { promise, cancel, stop } = this.#native.run({
      times,
      ...conditionOf(until),
      trace: false,
      ...nativePieces(pieces),
      rows: rows && listOf('rows', rows).map((tensor) => nativeTensor('an element of rows', tensor)),
    });
    return { done: promise.then(replays), stop, cancel };
  }

  /** Replays the program. Returns the mean microseconds of a replay on the device's own clock. */
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

  /** Frees the program's memory, after the current run has ended. */
  dispose(): void {
    this.#native.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
