/** The engine's interface to a model on a device: tensors and programs. A runtime neither queues nor schedules work. */

/** A window's range in the pool of audio positions, for its cross-attention keys and values. */
export interface Slot {
  readonly begin: number;
  readonly positions: number;
}

/** Neighbouring rows of the decoder's state: one for a plain sequence, one for each beam of a beam search. */
export interface Rows {
  readonly first: number;
  readonly count: number;
}

/** A search that has rows: one sequence, or the beams of one. */
export interface Sequence<Search> {
  readonly rows: Rows;
  readonly slot: Slot;
  readonly search: Search;
}

/** The text of a sequence so far; of beams, that of the best one. */
export interface Written {
  /** The tokens behind the prompt, those of a prefix included. */
  tokens: number[];
  /** Of the generated tokens; a prefix has none. */
  logProbabilities: number[];
  noSpeechProbability: number;
  /** float32 [vocabulary], if the search wants the logits behind its start token. */
  startLogits?: Float32Array;
}

/** Work that the device has done. */
export interface Work {
  /** Milliseconds on the device's own clock. */
  readonly elapsed: number;
}

/**
 * Work that has been submitted to the device completely: nothing is read later, so its rows can be given to others.
 * That is why `finish` is not asynchronous.
 */
export interface Submitted<Result, Data = unknown> {
  /** What the device has read. */
  readonly data: Promise<Data>;
  /** Makes the result of `data`. */
  finish(data: Data): Result;
}

export function submitted<Result, Data>(data: Promise<Data>, finish: (data: Data) => Result): Submitted<Result, Data> {
  return { data, finish };
}

/** The result of a run of steps. */
export interface Steps<Search> extends Work {
  readonly steps: number;
  /** Sequences that have ended and were not in the result of an earlier run. */
  readonly ended: Sequence<Search>[];
  /** The text of each sequence of `shown`. */
  readonly written: Written[];
}

/** A run of steps that was submitted to the device. */
export interface StepRun<Search> {
  readonly done: Promise<Steps<Search>>;
  /** Ends the run within one step. A run that has not begun does no step. */
  stop(): void;
}

/**
 * `Window` is what is encoded, `Search` describes a decoding of it, `Result` is what that gives. Work is done in the
 * order of the calls, and the next call need not wait for the last one's work: a range of positions or rows can be
 * given to others as soon as the last work on it has been submitted.
 *
 * A method that refuses its work throws, and has submitted nothing that counts. Work that fails on the device rejects
 * its promise. Both concern only the windows and searches of this work, unless `isLost(error)`: then the engine ends.
 */
export interface Runtime<Window, Search, Result> {
  /** The number of audio positions of all slots together. */
  readonly positions: number;
  readonly rows: number;
  /** Maximum number of windows that are encoded together. */
  readonly encodeBatch: number;
  /** True if the error means that the device can do no more work. */
  isLost(error: unknown): boolean;
  /** The number of audio positions of a window. Only windows of the same number are encoded together. */
  positionsOf(window: Window): number;
  rowsOf(search: Search): number;
  /**
   * True if the host takes part in starting this search. Until it has started, no other search is started and no steps
   * are submitted.
   */
  waitsForStart(search: Search): boolean;
  /**
   * Computes features, encoder output, and the cross-attention cache of these slots. No other slot changes. All work is
   * submitted when it returns.
   */
  encode(windows: readonly { window: Window; slot: Slot }[]): Promise<Work>;
  /** Writes the state of these rows and prefills them. No other row changes. `ended`: those that need no step. */
  start(sequences: readonly Sequence<Search>[]): Promise<Work & { ended: Sequence<Search>[] }>;
  /**
   * Decodes these sequences until one more of them has ended than when the run began, or `times` steps are done. If all
   * had ended by then, no step is done. Sequences that have ended do not change.
   */
  step(
    sequences: readonly Sequence<Search>[],
    options: { times: number; shown: readonly Sequence<Search>[] },
  ): StepRun<Search>;
  /** Reads the result of a sequence that has ended. Its rows are then free. */
  collect(sequence: Sequence<Search>): Submitted<Result>;
  /** Takes back the rows of sequences that have not ended. It does no work and cannot fail. */
  release(sequences: readonly Sequence<Search>[]): void;
}
