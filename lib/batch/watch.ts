/** Watches a folder for new recordings. */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { OneheadError, reasonOf, shown } from '../errors.js';
import { type FoundRecording, filesIn, hasAudioName, recordingOf, withoutExtension } from './files.js';
import type { Recording, StoredOptions } from './queue.js';

export interface WatchOptions {
  /** Milliseconds for which a file must be unchanged. */
  settled?: number;
  /** Milliseconds between scans. After a slow scan it is ten times as long as the scan, at most a minute. */
  interval?: number;
  /** Called for files that cannot be read or submitted. They are tried again. */
  onTrouble?: (message: string) => void;
}

interface SeenFile {
  bytes: number;
  version: string;
  /** When it was first seen in this version, on `performance`'s clock. */
  since: number;
  submitted: boolean;
  /** The number of the last scan that found it. */
  lastScan: number;
}

/** Maximum recordings in a call of `onRecordings`. */
const batchSize = 500;

/**
 * Calls `onRecordings` for each recording in a folder and below, existing and new ones (created, renamed or replaced),
 * once it has been unchanged for `settled` milliseconds. If `onRecordings` rejects, its recordings are passed again.
 * Resolves when `signal` aborts. The folder may disappear and come back. Throws OneheadError AUDIO_NOT_FOUND if it does
 * not exist at the start.
 *
 * The folder is scanned regularly: notifications of the system do not include changes by other machines on a shared
 * disk, and can be lost when there are many.
 */
export async function watchFolder(
  folder: string,
  options: StoredOptions,
  onRecordings: (recordings: Recording[]) => Promise<void>,
  signal: AbortSignal,
  { settled = 2000, interval = 500, onTrouble = () => {} }: WatchOptions = {},
): Promise<void> {
  const root = resolve(folder);
  if (!(await stat(root).catch(() => null))?.isDirectory()) {
    throw new OneheadError('AUDIO_NOT_FOUND', `There is no folder ${shown(folder)} to watch.`);
  }
  const seen = new Map<string, SeenFile>();
  /** The problems of the previous scan and of this one. Each is only reported once. */
  let [previousProblems, problems] = [new Set<string>(), new Set<string>()];
  const reportProblem = (error: unknown) => {
    const message = error instanceof OneheadError ? error.message : `${reasonOf(error)}.`;
    if (!previousProblems.has(message) && !problems.has(message)) onTrouble(message);
    problems.add(message);
  };
  const submit = async (ready: FoundRecording[]) => {
    try {
      await onRecordings(ready.map((found) => recordingOf(found, withoutExtension(found.path), options)));
      for (const { source } of ready) seen.get(source)!.submitted = true;
    } catch (error) {
      if (!signal.aborted) reportProblem(error);
    }
  };
  for (let scan = 1; !signal.aborted; ++scan) {
    const started = performance.now();
    let ready: FoundRecording[] = [];
    try {
      for await (const found of filesIn(root, hasAudioName, reportProblem)) {
        if (signal.aborted) return;
        const now = performance.now();
        const { bytes, version } = found;
        let file = seen.get(found.source);
        if (file?.bytes !== bytes || file.version !== version)
          file = { bytes, version, since: now, submitted: false, lastScan: scan };
        file.lastScan = scan;
        seen.set(found.source, file);
        if (file.submitted || now - file.since < settled) continue;
        ready.push(found);
        if (ready.length < batchSize) continue;
        await submit(ready);
        ready = [];
      }
    } catch (error) {
      reportProblem(error); // for example, a folder was removed while it was read
    }
    if (ready.length > 0 && !signal.aborted) await submit(ready);
    for (const [source, { lastScan }] of seen) if (lastScan !== scan) seen.delete(source);
    [previousProblems, problems] = [problems, new Set()];
    const pause = Math.min(60_000, 10 * (performance.now() - started));
    await sleep(Math.max(interval, pause), undefined, { signal }).catch(() => {});
  }
}
