/** An open recording. */
import type { AudioTrack } from './tracks.js';

/** A recording that is read in chunks. */
export interface Source<T> {
  /** Seconds, if the input states it before it is read. */
  duration: number | null;
  /** Problems of the recording; more are added while it is read. */
  readonly warnings: readonly string[];
  /** True once a part of the recording could not be read. */
  readonly incomplete: boolean;
  /** The container's audio tracks, known after the first chunk. */
  readonly tracks?: readonly AudioTrack[];
  /** Seconds from the container's start to the audio's start, known after the first chunk; 0 if they are not added. */
  readonly startTime?: number;
  /** True if nobody else uses the memory of a chunk, so that its reader may free it. */
  readonly ownsChunks?: boolean;
  /** Samples at the requested rate, in order, at most a second at a time. May be called once. */
  chunks(): AsyncIterable<T>;
  /** Releases files, streams and processes; harmless if everything was read. */
  close(): Promise<void>;
}

/** Mono samples. */
export interface AudioSource extends Source<Float32Array> {}
