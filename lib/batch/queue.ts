/** The interface of a queue of recordings. Each implementation is one file: bullmq.ts, memory.ts. */
import type { TranscribeOptions } from '../whisper/transcription/options.js';

/** Options of transcription that can be written down: everything but functions and signals. */
export type StoredOptions = Omit<
  TranscribeOptions,
  'signal' | 'onProgress' | 'onWarning' | 'onPartial' | 'journal' | 'priority' | 'deadline'
>;

/** A recording to transcribe. */
export interface Recording {
  /** The same for the same source, version and options: what is in the queue already is not added again. */
  id: string;
  /** A path, or s3://bucket/key. */
  source: string;
  /** The name of its results: a path without an extension, such as 'monday/talk'. */
  name: string;
  /** Bytes of encoded audio, which say about how long it is. */
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
  /** True where it had been transcribed before, under this name or another. */
  repeated: boolean;
  /** True where a part of it could not be read. */
  incomplete: boolean;
  attempt: number;
}

/** Progress of a recording, in seconds of audio; `total` is null while it is not known. */
export interface BatchProgress {
  processed: number;
  total: number | null;
}

/** A recording that a worker has taken. It is its own as long as it extends the claim in time. */
export interface Claim {
  readonly recording: Recording;
  /** 1 for the first; every claim of the same recording has a higher one. */
  readonly attempt: number;
  /** Milliseconds after which others may take it, unless it is extended. */
  readonly lock: number;
  /** 'held', 'lost' where another may have it by now, or 'cancelled'. Rejects while the queue cannot be reached. */
  extend(progress?: BatchProgress): Promise<'held' | 'lost' | 'cancelled'>;
  /** Done. False where the claim was lost. */
  acknowledge(summary: Summary): Promise<boolean>;
  /** It is tried again, later each time, until no attempts are left: then it is set aside. */
  fail(reason: string): Promise<boolean>;
  /** It cannot work: nobody tries it again unless told to. */
  setAside(reason: string): Promise<boolean>;
  /** Gives it back for others to take at once; that counts as no failure. */
  release(): Promise<boolean>;
}

/** The number of recordings in each state. */
export interface Counts {
  waiting: number;
  /** Failed, and wait to be tried again. */
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
  /** Failures, and ends of the process that had it. */
  attempts: number;
}

/** A recording that was done lately. */
export interface Done {
  /** Milliseconds since 1970. */
  at: number;
  summary: Summary;
}

/** Selected recordings: by sources, names or ids (the first eight letters suffice); or all. */
export type Chosen = readonly string[] | 'all';

export interface Queue {
  /** Adds what is not there yet. `known`: how many were there; `setAside`: how many of these had been set aside. */
  add(recordings: readonly Recording[]): Promise<{ added: number; known: number; setAside: number }>;
  /** The next recording, the longest first; null where there is none for some seconds. */
  claim(): Promise<Claim | null>;
  counts(): Promise<Counts>;
  /** Those that were set aside, the latest first. */
  failures(most?: number): Promise<Failure[]>;
  /** The latest first. */
  done(most?: number): Promise<Done[]>;
  active(): Promise<{ recording: Recording; progress: BatchProgress | null }[]>;
  /** Recordings that were set aside are tried again. Gives how many. */
  retry(chosen: Chosen): Promise<number>;
  /** Removes waiting recordings and ends those under way. Returns their number. */
  cancel(chosen: Chosen): Promise<number>;
  /**
   * Settles with what is wanted of all who work here: the first to say it decides. Gives what counts, so that a worker
   * with another model sees that it is in the wrong place.
   */
  agree(name: string, value: string): Promise<string>;
  close(): Promise<void>;
}

/** True where one of the recordings is meant. */
export function isChosen(chosen: Chosen, { id, name, source }: Pick<Recording, 'id' | 'name' | 'source'>): boolean {
  if (chosen === 'all') return true;
  return chosen.some((one) => one === name || one === source || (one.length >= 8 && id.startsWith(one)) || one === id);
}

/** Milliseconds before the next attempt: 5 s, then twice as long each time, at most ten minutes. */
export function pauseAfter(failures: number): number {
  return Math.min(600_000, 5_000 * 2 ** Math.max(0, failures - 1));
}
