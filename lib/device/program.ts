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

  /** Replays the program and times each operation. */
  async trace(times = 1): Promise<OperationTime[]> {
    const result = await this.#native.run({ times, trace: true }).promise;
    return this.operations.map(({ name, label }, index) => ({
      name,
      label,
      microseconds: (result.microseconds?.[index] ?? 0) / Math.max(1, result.times),
    }));
  }

  /** Frees the program's memory. A run under way ends first. */
  dispose(): void {
    this.#native.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
