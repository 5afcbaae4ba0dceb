import { OneheadError } from '../errors.js';
import type { NativeProgram } from './native.js';
import type { Tensor } from './tensor.js';

/** Flags on the device that end a run. */
export interface RunCondition {
  /** int32; 0 is not set. */
  flags: Tensor;
  /** Whether every flag must be set, or one is enough. */
  when: 'all' | 'any';
}

export interface RunOptions {
  /** How often to replay the program. */
  times?: number;
  /**
   * The run ends early once the condition holds; a tensor alone stands for all of its flags. Where it holds already, nothing is run. A device
   * may look only now and then, and do up to two replays more.
   */
  until?: Tensor | RunCondition;
  /** Ends the run at once, within a replay; the promise then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Ends the run early behind the replay under way, those that a device has queued (two at most) done: the promise resolves as usual. */
  stop?: AbortSignal;
}

/** Time that one recorded operation took. */
export interface OperationTime {
  name: string;
  label: string;
  /** Mean of a replay. */
  microseconds: number;
  /** The operation's stages, where the device can tell them apart: 'scores', 'softmax' and 'values' of multi-head attention. */
  parts?: { name: string; microseconds: number }[];
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

  /** Bytes that this program's temporaries need. All programs of a device have theirs in one arena, since they run one after another. */
  get arenaBytes(): number {
    return this.#native.arenaBytes;
  }

  /** Makes the program ready, weights laid out and all; `run` does so by itself when it was not done before. */
  prepare(): Promise<void> {
    return this.#native.prepare();
  }

  /** Replays the program and gives the number of replays done; with `until`, those that it took until all flags were set. */
  async run(options: RunOptions = {}): Promise<number> {
    return (await this.replay(options)).times;
  }

  /** As `run`; gives the milliseconds of all replays on the device's own clock too. */
  async replay({
    times = 1,
    until,
    signal,
    stop: ending,
  }: RunOptions = {}): Promise<{ times: number; elapsed: number }> {
    signal?.throwIfAborted();
    const condition = until && 'flags' in until ? until : { flags: until, when: 'all' };
    if (condition.when !== 'all' && condition.when !== 'any') {
      throw new OneheadError(
        'INVALID_ARGUMENT',
        `run: expected until.when to be 'all' or 'any' but received '${condition.when}'.`,
        { operation: 'run', argument: 'until.when', expected: "'all' or 'any'", received: String(condition.when) },
      );
    }
    const { promise, cancel, stop } = this.#native.run({
      times: ending?.aborted ? 0 : times,
      until: condition.flags?.native,
      any: condition.when === 'any',
      trace: false,
    });
    signal?.addEventListener('abort', cancel, { once: true });
    ending?.addEventListener('abort', stop, { once: true });
    try {
      const { times: done, elapsed } = await promise;
      signal?.throwIfAborted();
      return { times: done, elapsed: elapsed / 1000 };
    } finally {
      signal?.removeEventListener('abort', cancel);
      ending?.removeEventListener('abort', stop);
    }
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
