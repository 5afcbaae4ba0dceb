/** What the engine asks of a model on a device. It knows tensors and programs; it has no queue and makes no choices. */

/** A window's place in the pool of audio positions: its cross-attention keys and values. */
export interface Slot {
  readonly begin: number;
  readonly positions: number;
}

/** Neighbouring rows of the pool of decoding state: one for a plain sequence, one a beam for a beam search. */
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

/** What a sequence has written so far; of beams, the best one. */
export interface Written {
  /** Behind the prompt. */
  tokens: number[];
  /** Of those that were generated. */
  logProbabilities: number[];
  noSpeechProbability: number;
}

/** Milliseconds on the device's own clock. */
export interface Work {
  readonly elapsed: number;
}

/** What a run of steps did. */
export interface Steps<Search> extends Work {
  readonly steps: number;
  /** Sequences that had ended when the run had, those of earlier runs left out. */
  readonly ended: Sequence<Search>[];
  /** What each sequence to be shown had then. */
  readonly written: Written[];
}

/** Steps that the device was asked for. */
export interface StepRun<Search> {
  readonly done: Promise<Steps<Search>>;
  /** Ends the run within one step; one that has not begun does none. */
  stop(): void;
}

/**
 * `Window` is what is encoded, `Search` what is decoded of it, `Found` what a search gives. Work is done in the order
 * in which the methods are called, and the next may be called before the work of the one before has ended: so a place
 * is free as soon as the last work on it has been asked for. An error of any work ends the engine.
 */
export interface Runtime<Window, Search, Found> {
  /** Audio positions in all slots together. */
  readonly positions: number;
  readonly rows: number;
  /** Windows that are encoded at once, at most. */
  readonly encodeBatch: number;
  /** Audio positions that a window takes. Windows of the same number can be encoded at once. */
  positionsOf(window: Window): number;
  rowsOf(search: Search): number;
  /**
   * Whether the host has a part in starting this search: until it has started, nothing else is started and no steps are
   * asked for.
   */
  waitsForStart(search: Search): boolean;
  /** Features, encoder, and the cross-attention cache of these slots; no other slot changes. */
  encode(windows: readonly { window: Window; slot: Slot }[]): Promise<Work>;
  /** Writes the state of these rows and prefills them; no other row changes. Gives those that have ended already. */
  start(sequences: readonly Sequence<Search>[]): Promise<Work & { ended: Sequence<Search>[] }>;
  /**
   * Decodes these sequences until one of them ends that had not when the run began, or `times` steps are done; where
   * all had ended, no step is done. Sequences that have ended are left as they are.
   */
  step(
    sequences: readonly Sequence<Search>[],
    options: { times: number; shown: readonly Sequence<Search>[] },
  ): StepRun<Search>;
  /** What a sequence that has ended found. */
  collect(sequence: Sequence<Search>): Promise<Found>;
  /** Takes back the rows of sequences that were given up. */
  release(sequences: readonly Sequence<Search>[]): void;
}
