/** The interface of a queue of recordings. Each implementation is one file: bullmq.ts, memory.ts. */
import type { TranscribeOptions } from '../whisper/transcription/options.js';

/** Options of transcription that can be stored: all except functions and signals. */
export type StoredOptions = Omit<
  TranscribeOptions,
  'signal' | 'onProgress' | 'onWarning' | 'onPartial' | 'journal' | 'priority' | 'deadline'
>;

/** A recording to transcribe. */
export interface Recording {
  /** Equal for the same source, version and options: a recording in the queue is not added again. */
  id: string;
  /** A path, or s3://bucket/key. */
  source: string;
  /** The name of its results: a path without an extension, such as 'monday/talk'. */
  name: string;
  /** Bytes of encoded audio, an estimate of its length. */
  bytes: number;
  options: StoredOptions;
}

/** A summary of a finished recording. */
export interface Summary {
  /** Seconds of audio. */
  duration: number;
  /** Milliseconds from the claim to the result. */
  elapsed: number;
  /** The key of its result in the store. */
  key: string;
  /** True if it had been transcribed before, under this name or another. */
  repeated: boolean;
  /** True if a part of it could not be read. */
  incomplete: boolean;
  attempt: number;
}

/** Progress of a recording, in seconds of audio; `total` is null if unknown. */
export interface BatchProgress {
  processed: number;
  total: number | null;
}

/** A recording that a worker has claimed. The worker must extend the claim in time to keep it. */
export interface Claim {
  readonly recording: Recording;
  /** 1 for the first; it increases with every claim of the recording. */
  readonly attempt: number;
  /** Milliseconds after which the claim expires unless it is extended. */
  readonly lock: number;
  /** 'held', 'lost' if another worker may have it, or 'cancelled'. Rejects while the queue cannot be reached. */
  extend(progress?: BatchProgress): Promise<'held' | 'lost' | 'cancelled'>;
  /** Marks it as done. False if the claim was lost. */
  acknowledge(summary: Summary): Promise<boolean>;
  /** Schedules a retry with increasing delay; sets it aside when no attempts are left. */
  fail(reason: string): Promise<boolean>;
  /** Marks it as permanently failed: it is not tried again unless requested. */
  setAside(reason: string): Promise<boolean>;
  /** Returns it to the queue at once; this does not count as a failure. */
  release(): Promise<boolean>;
}

/** The number of recordings in each state. */
export interface Counts {
  waiting: number;
  /** Failed, and waiting for a retry. */
  delayed: number;
  active: number;
  done: number;
  /** Set aside. */
  failed: number;
}

export interface Failure {
  id: string;
  source: string;
  name: string;
  reason: string;
  /** Failures, including crashes of its worker. */
  attempts: number;
}

/** A recently finished recording. */
export interface Done {
  /** Milliseconds since 1970. */
  at: number;
  summary: Summary;
}

/** Selected recordings: by source, name or id (the first eight letters are enough); or all. */
export type Chosen = readonly string[] | 'all';

export interface Queue {
  /** Adds new recordings. `known`: how many were in the queue already; `setAside`: how many of these were set aside. */
  add(recordings: readonly Recording[]): Promise<{ added: number; known: number; setAside: number }>;
  /** The next recording, the longest first; null if there is none for some seconds. */
  claim(): Promise<Claim | null>;
  counts(): Promise<Counts>;
  /** Recordings that were set aside, the latest first. */
  failures(most?: number): Promise<Failure[]>;
  /** Finished recordings, the latest first. */
  done(most?: number): Promise<Done[]>;
  active(): Promise<{ recording: Recording; progress: BatchProgress | null }[]>;
  /** Retries recordings that were set aside. Returns their number. */
  retry(chosen: Chosen): Promise<number>;
  /** Removes waiting recordings and stops running ones. Returns their number. */
  cancel(chosen: Chosen): Promise<number>;
  /**
   * Agrees on a value among all workers: the first caller decides. Returns the value in force, so that a worker with
   * another model notices.
   */
  agree(name: string, value: string): Promise<string>;
  close(): Promise<void>;
}

/** True if a recording is among the chosen ones. */
export function isChosen(chosen: Chosen, { id, name, source }: Pick<Recording, 'id' | 'name' | 'source'>): boolean {
  if (chosen === 'all') return true;
  return chosen.some((one) => one === name || one === source || (one.length >= 8 && id.startsWith(one)) || one === id);
}

/** Milliseconds before the next attempt: 5 s, then twice as long each time, at most ten minutes. */
export function pauseAfter(failures: number): number {
  return Math.min(600_000, 5_000 * 2 ** Math.max(0, failures - 1));
}
