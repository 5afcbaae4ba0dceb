/** The status of a queue: progress, rate, and expected end. */
import type { Counts, Done, Failure, Queue } from './queue.js';

export interface Status {
  counts: Counts;
  /** The rate of the latest finished recordings; null if there are none. */
  rate: {
    recordingsPerHour: number;
    /** Seconds of audio per second. */
    realTime: number;
  } | null;
  /** Estimated seconds until all is done; an upper bound, since the longest go first. Null without recent results. */
  remaining: number | null;
  active: { source: string; processed: number; total: number | null }[];
  failures: Failure[];
  incomplete: number;
}

/** Milliseconds: older results say little about the current rate. */
const lately = 600_000;
const latest = 500;

function rateOf(done: readonly Done[], now: number): Status['rate'] {
  const recent = done.filter(({ at }) => now - at <= lately);
  if (recent.length < 2) return null;
  // From the end of the first one, so that its own work does not count.
  const [first, others] = [recent.at(-1)!.at, recent.slice(0, -1)];
  const seconds = Math.max(0.001, (now - first) / 1000);
  const audio = others.reduce((sum, { summary }) => sum + (summary.repeated ? 0 : summary.duration), 0);
  return { recordingsPerHour: (3600 * others.length) / seconds, realTime: audio / seconds };
}

export async function statusOf(queue: Queue, failures = 20): Promise<Status> {
  const [counts, done, active, failed] = await Promise.all([
    queue.counts(),
    queue.done(latest),
    queue.active(),
    failures > 0 ? queue.failures(failures) : [],
  ]);
  const rate = rateOf(done, Date.now());
  const left = counts.waiting + counts.delayed + counts.active;
  return {
    counts,
    rate,
    remaining: rate && rate.recordingsPerHour > 0 ? Math.round((3600 * left) / rate.recordingsPerHour) : null,
    active: active.map(({ recording: { source }, progress }) => ({
      source,
      processed: progress?.processed ?? 0,
      total: progress?.total ?? null,
    })),
    failures: failed,
    incomplete: done.filter(({ summary }) => summary.incomplete).length,
  };
}
