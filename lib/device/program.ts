import type { NativeProgram } from './native.js';
import type { Tensor } from './tensor.js';

export interface RunOptions {
  /** How often to replay the program. */
  times?: number;
  /** int32 flags: the run ends early once none of them is 0. A device may look only now and then. */
  until?: Tensor;
  /** Stops between two replays; the promise then rejects with the signal's reason. */
  signal?: AbortSignal;
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

  /** Bytes of the arena that holds this program's temporaries. */
  get arenaBytes(): number {
    return this.#native.arenaBytes;
  }

  /** Makes the program ready, weights laid out and all; `run` does so by itself when it was not done before. */
  prepare(): Promise<void> {
    return this.#native.prepare();
  }

  /** Replays the program and gives the number of replays done. */
  async run({ times = 1, until, signal }: RunOptions = {}): Promise<number> {
    signal?.throwIfAborted();
    const { promise, cancel } = this.#native.run({ times, until: until?.native, trace: false });
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      const { times: done } = await promise;
      signal?.throwIfAborted();
      return done;
    } finally {
      signal?.removeEventListener('abort', cancel);
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
