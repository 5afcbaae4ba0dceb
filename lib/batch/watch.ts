/** Watches a folder. */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { OneheadError, reasonOf, shown } from '../errors.js';
import { type FoundRecording, filesIn, hasAudioName, recordingOf, withoutExtension } from './files.js';
import type { Recording, StoredOptions } from './queue.js';

export interface WatchOptions {
  /** Milliseconds for which a file must be unchanged. */
  settled?: number;
  /** Milliseconds between scans; ten times the duration of a slow scan, at batchSize a minute. */
  interval?: number;
  /** Called for files that cannot be read or submitted; they are tried again. */
  onTrouble?: (message: string) => void;
}

interface Seen {
  bytes: number;
  version: string;
  /** Milliseconds, of performance.now(). */
  since: number;
  given: boolean;
  /** The scan that saw it last. */
  look: number;
}

/** Maximum recordings submitted at once. */
const batchSize = 500;

/**
 * Yields each recording in a folder and below, existing and new ones (created, renamed or replaced), once it has
 * stopped growing. Ends with `signal`, without an error. Recordings that `onRecordings` rejects are passed again. The
 * folder may disappear and come back.
 *
 * It polls, since systems do not report changes by other machines on shared disks, and lose some of many. Throws
 * OneheadError AUDIO_NOT_FOUND if the folder does not exist at the start.
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
  const seen = new Map<string, Seen>();
  /** Problems reported by the last scan and by this one. */
  let [told, telling] = [new Set<string>(), new Set<string>()];
  const trouble = (error: unknown) => {
    const message = error instanceof OneheadError ? error.message : `${reasonOf(error)}.`;
    if (!told.has(message) && !telling.has(message)) onTrouble(message);
    telling.add(message);
  };
  const give = async (ready: FoundRecording[]) => {
    try {
      await onRecordings(ready.map((one) => recordingOf(one, withoutExtension(one.path), options)));
      for (const { source } of ready) seen.get(source)!.given = true;
    } catch (error) {
      if (!signal.aborted) trouble(error);
    }
  };
  for (let look = 1; !signal.aborted; ++look) {
    const started = performance.now();
    let ready: FoundRecording[] = [];
    try {
      for await (const one of filesIn(root, hasAudioName, trouble)) {
        if (signal.aborted) return;
        const now = performance.now();
        const { bytes, version } = one;
        let known = seen.get(one.source);
        if (known?.bytes !== bytes || known.version !== version)
          known = { bytes, version, since: now, given: false, look };
        known.look = look;
        seen.set(one.source, known);
        if (known.given || now - known.since < settled) continue;
        ready.push(one);
        if (ready.length < batchSize) continue;
        await give(ready);
        ready = [];
      }
    } catch (error) {
      trouble(error); // a folder that went away while it was read
    }
    if (ready.length > 0 && !signal.aborted) await give(ready);
    for (const [source, known] of seen) if (known.look !== look) seen.delete(source);
    [told, telling] = [telling, new Set()];
    const pause = Math.min(60_000, 10 * (performance.now() - started));
    await sleep(Math.max(interval, pause), undefined, { signal }).catch(() => {});
  }
}
