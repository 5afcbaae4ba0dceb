/** Messages of a recording between the main thread and a worker. */
import type { ToldError } from '../workers/errors.js';
import type { Limits } from './read.js';
import type { AudioTrack } from './tracks.js';

/** The origin of the recording, for the worker. */
export type Origin =
  | { path: string; name: string; size: number }
  /** All of a small recording. */
  | { whole: Uint8Array; name: string }
  /** Bytes that the main thread reads for it: from any place where `size` is known, else from the first to the last. */
  | { remote: true; name: string; size: number | null }
  /** Samples of the caller's. */
  | { sampleRate: number; duration: number; name: string };

export interface Opening {
  origin: Origin;
  reading: Limits;
  apart: boolean;
  /** Chunks that are decoded before they are asked for. */
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

/** A chunk, or the end, or why there is no more. */
export type Item<T> = { state: State } & ({ chunk: T } | { end: true } | { error: ToldError });

export type FromWorker<T> =
  | { opened: number | null }
  | { item: Item<T> }
  /** Asks for the next bytes or samples of a stream; 0 is the first reading, later ones begin anew. */
  | { pull: number; answer: number }
  | { leave: number }
  /** Asks for `length` bytes at a place. */
  | { at: number; length: number; answer: number };

export type ToWorker =
  /** So many chunks more are wanted. */
  | { more: number }
  | { answer: number; given: Uint8Array | Float32Array[] | null }
  | { answer: number; error: ToldError };
