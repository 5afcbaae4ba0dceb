/** An open recording. */
import type { AudioTrack } from './tracks.js';

/** A recording that is read chunk by chunk. */
export interface Source<T> {
  /** Seconds, where the input says so before it is read. */
  duration: number | null;
  /** Sentences on what was wrong with the recording; more are added while it is read. */
  readonly warnings: readonly string[];
  /** True as soon as a part of the recording could not be read. */
  readonly incomplete: boolean;
  /** The audio tracks of a container that names them, once the first chunk was read. */
  readonly tracks?: readonly AudioTrack[];
  /**
   * Seconds after its container's start at which the sound begins, once the first chunk was read; 0 unless they are to
   * be added.
   */
  readonly startTime?: number;
  /** Samples at the rate asked for, in order, at most a second at a time. To be called once. */
  chunks(): AsyncIterable<T>;
  /** Frees files, streams and processes; harmless when all was read. */
  close(): Promise<void>;
}

/** Mono samples. */
export interface AudioSource extends Source<Float32Array> {}
