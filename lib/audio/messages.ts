/** Messages between the main thread and a worker that decodes a recording. */
import type { SerializedError } from '../workers/errors.js';
import type { Limits } from './read.js';
import type { AudioTrack } from './tracks.js';

/** Where the worker gets the recording from. */
export type Origin =
  | { path: string; name: string; size: number }
  /** The bytes of a small recording. */
  | { whole: Uint8Array; name: string }
  /**
   * Bytes that the main thread reads: at any position if `size` is known, otherwise sequentially. With `again`, a
   * second reading may start from the beginning.
   */
  | { remote: true; name: string; size: number | null; again: boolean }
  /** The caller's samples. */
  | { sampleRate: number; duration: number; name: string };

export interface Opening {
  origin: Origin;
  reading: Limits;
  apart: boolean;
  /** Chunks to decode before they are requested. */
  ahead: number;
}

/** Facts that become known while a recording is read. */
export interface State {
  /** Warnings since the last message. */
  warnings: readonly string[];
  incomplete: boolean;
  tracks: AudioTrack[];
  start: number;
}

/** A chunk, the end, or an error. */
export type Item<T> = { state: State } & ({ chunk: T } | { end: true } | { error: SerializedError });

export type FromWorker<T> =
  | { opened: number | null }
  | { item: Item<T> }
  /** Requests the next bytes or samples of a stream; 0 is the first reading, later numbers start again. */
  | { pull: number; answer: number }
  | { leave: number }
  /** Requests `length` bytes at a position. */
  | { at: number; length: number; answer: number };

export type ToWorker =
  /** Requests this many more chunks. */
  | { more: number }
  | { answer: number; given: Uint8Array | Float32Array[] | null }
  | { answer: number; error: SerializedError };
