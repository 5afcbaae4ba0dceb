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

/**
 * `Window` is what is encoded, `Search` what is decoded of it, `Found` what a search gives. No method is called before the one before
 * has ended. An error of any method ends the engine.
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
  /** Features, encoder, and the cross-attention cache of these slots; no other slot changes. */
  encode(windows: readonly { window: Window; slot: Slot }[]): Promise<Work>;
  /** Writes the state of these rows and prefills them; no other row changes. Gives those that have ended already. */
  start(sequences: readonly Sequence<Search>[]): Promise<Work & { ended: Sequence<Search>[] }>;
  /** Decodes these sequences until one of them ends, `times` steps are done, or `stop` aborts: within one step. */
  step(
    sequences: readonly Sequence<Search>[],
    options: { times: number; stop: AbortSignal },
  ): Promise<Work & { steps: number; ended: Sequence<Search>[] }>;
  /** What each sequence has so far. */
  written(sequences: readonly Sequence<Search>[]): Promise<Written[]>;
  /** What ended sequences found. Their rows are free afterwards. */
  collect(sequences: readonly Sequence<Search>[]): Promise<Found[]>;
  /** Frees the rows of sequences that were given up. */
  release(sequences: readonly Sequence<Search>[]): Promise<void>;
}
