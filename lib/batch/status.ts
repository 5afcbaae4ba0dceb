/** The status of a queue: progress, rate, and expected end. */
import type { Counts, Done, Failure, Queue } from './queue.js';

export interface Status {
  counts: Counts;
  /** The rate of the recordings that finished recently; null if fewer than two did. */
  rate: {
    recordingsPerHour: number;
    /** Seconds of audio per second. */
    realTime: number;
  } | null;
  /** Estimated seconds until all are done; null without a rate. Too high at first, since the longest go first. */
  remaining: number | null;
  active: { source: string; processed: number; total: number | null }[];
  failures: Failure[];
  incomplete: number;
}

/** Milliseconds, and a number of recordings, over which the rate is computed. */
const ratePeriod = 600_000;
const maxRecent = 500;

function rateOf(done: readonly Done[], now: number): Status['rate'] {
  const recent = done.filter(({ at }) => now - at <= ratePeriod);
  if (recent.length < 2) return null;
  // The time is counted from the end of the first recording, so that one itself is not counted.
  const [start, counted] = [recent.at(-1)!.at, recent.slice(0, -1)];
  const seconds = Math.max(0.001, (now - start) / 1000);
  const audio = counted.reduce((sum, { summary }) => sum + (summary.repeated ? 0 : summary.duration), 0);
  return { recordingsPerHour: (3600 * counted.length) / seconds, realTime: audio / seconds };
}

/** The status of a queue with at most `failures` recordings that were set aside. */
export async function statusOf(queue: Queue, failures = 20): Promise<Status> {
  const [counts, done, active, failed] = await Promise.all([
    queue.counts(),
    queue.done(maxRecent),
    queue.active(),
    failures > 0 ? queue.failures(failures) : [],
  ]);
  const rate = rateOf(done, Date.now());
  const unfinished = counts.waiting + counts.delayed + counts.active;
  return {
    counts,
    rate,
    remaining: rate && rate.recordingsPerHour > 0 ? Math.round((3600 * unfinished) / rate.recordingsPerHour) : null,
    active: active.map(({ recording: { source }, progress }) => ({
      source,
      processed: progress?.processed ?? 0,
      total: progress?.total ?? null,
    })),
    failures: failed,
    incomplete: done.filter(({ summary }) => summary.incomplete).length,
  };
}
