/** The interface of a queue of recordings, which bullmq.ts and memory.ts implement. */
import type { TranscribeOptions } from '../whisper/transcription/options.js';

/** Options of transcription that can be stored: all except functions and signals. */
export type StoredOptions = Omit<
  TranscribeOptions,
  'signal' | 'onProgress' | 'onWarning' | 'onPartial' | 'journal' | 'priority' | 'deadline'
>;

/** A recording to transcribe. */
export interface Recording {
  /** Determined by source, version and options, so that no recording is added twice. */
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
  /** True if a result for the same audio, model and options existed already. */
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
  /**
   * Extends the claim by `lock`, and reports progress. Resolves to 'lost' if another worker may have claimed the
   * recording. Rejects while the queue cannot be reached.
   */
  extend(progress?: BatchProgress): Promise<'held' | 'lost' | 'cancelled'>;
  /** Marks it as done. This and the following methods resolve to false if the claim was lost. */
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

/** Selects recordings by source, name or id, of which eight characters are enough; or all. */
export type Chosen = readonly string[] | 'all';

export interface Queue {
  /** True if the queue outlives its workers, and counts the attempts of all of them. */
  readonly isShared: boolean;
  /**
   * Adds recordings that are not in the queue. Returns the number of added ones, of those in the queue already
   * (`known`), and of those among the latter that are set aside.
   */
  add(recordings: readonly Recording[]): Promise<{ added: number; known: number; setAside: number }>;
  /** Claims the longest waiting recording; resolves to null if there is none for some seconds. */
  claim(): Promise<Claim | null>;
  counts(): Promise<Counts>;
  /** Recordings that were set aside, the latest first. */
  failures(limit?: number): Promise<Failure[]>;
  /** Finished recordings, the latest first. */
  done(limit?: number): Promise<Done[]>;
  active(): Promise<{ recording: Recording; progress: BatchProgress | null }[]>;
  /** Retries recordings that were set aside. Returns their number. */
  retry(chosen: Chosen): Promise<number>;
  /** Removes waiting recordings and stops running ones. Returns their number. */
  cancel(chosen: Chosen): Promise<number>;
  /**
   * Sets a value once for all workers, and returns it: the first caller's. A worker with another value, such as another
   * model, can thus detect the difference.
   */
  agree(name: string, value: string): Promise<string>;
  close(): Promise<void>;
}

/** True if a recording is among the chosen ones. */
export function isChosen(chosen: Chosen, { id, name, source }: Pick<Recording, 'id' | 'name' | 'source'>): boolean {
  if (chosen === 'all') return true;
  return chosen.some((text) => [name, source, id].includes(text) || (text.length >= 8 && id.startsWith(text)));
}

/** Milliseconds before the next attempt: 5 s, doubled with each further failure, at most ten minutes. */
export function retryDelay(failures: number): number {
  return Math.min(600_000, 5_000 * 2 ** Math.max(0, failures - 1));
}
