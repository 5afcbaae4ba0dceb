/** Finds audio files in folders, and names the recordings of a queue. */
import type { Stats } from 'node:fs';
import { opendir, stat } from 'node:fs/promises';
import { basename, join, relative, sep } from 'node:path';
import { OneheadError, reasonOf, shown } from '../errors.js';
import { recordingId } from './digest.js';
import type { Recording, StoredOptions } from './queue.js';

const audioExtensions =
  /\.(aac|ac3|aif|aiff|alac|amr|ape|asf|au|avi|caf|dts|flac|flv|m4a|m4b|m4v|mka|mkv|mov|mp2|mp3|mp4|mpeg|mpg|mpga|oga|ogg|ogv|opus|spx|ts|wav|wave|webm|wma|wmv|wv|3gp)$/i;

/**
 * True if a file in a folder or bucket is a recording, by its name. A file that is named itself may have any name.
 * Names that begin with a dot are incomplete copies or metadata of another system.
 */
export const hasAudioName = (path: string) => audioExtensions.test(path) && !/(^|\/)\.[^/]*$/.test(path);

export type MissingHandler = (error: OneheadError) => void;

/** A recording that has not been submitted. */
export interface FoundRecording {
  source: string;
  /** Its path relative to the given source, with slashes. */
  path: string;
  bytes: number;
  version: string;
}

export const withoutExtension = (path: string) => path.replace(/(?<=[^/])\.[^./]{1,8}$/, '');

export const notFound = (what: string, cause: unknown) =>
  new OneheadError('AUDIO_NOT_FOUND', `Cannot read ${shown(what)}: ${reasonOf(cause)}.`, { cause });

export function foundFile(file: string, base: string, status: Stats): FoundRecording {
  const path = relative(base, file).split(sep).join('/');
  return { source: file, path, bytes: status.size, version: String(status.mtimeMs) };
}

/**
 * Null if it is not a file: it is a link to a folder, which is not followed, or it cannot be examined, of which
 * `onMissing` is told.
 */
async function fileOf(file: string, base: string, onMissing: MissingHandler): Promise<FoundRecording | null> {
  const status = await stat(file).catch((cause: unknown) => onMissing(notFound(file, cause)));
  return status?.isFile() ? foundFile(file, base, status) : null;
}

/**
 * All files in a folder and below that `accepts` returns true for, in no particular order. Folders whose names begin
 * with a dot are skipped. `onUnreadable` is called for each folder that cannot be read; without it, that throws
 * OneheadError AUDIO_NOT_FOUND. `onMissing` is called for each file that cannot be examined: a broken link, or one that
 * a disk fails to deliver or that has just disappeared.
 */
export async function* filesIn(
  folder: string,
  accepts: (path: string) => boolean,
  onUnreadable: MissingHandler = (error) => {
    throw error;
  },
  onMissing: MissingHandler = () => {},
): AsyncGenerator<FoundRecording> {
  const remaining: string[] = [folder];
  for (let next = remaining.pop(); next !== undefined; next = remaining.pop()) {
    const entries = await opendir(next).catch((cause: unknown) => onUnreadable(notFound(next!, cause)));
    if (!entries) continue;
    for await (const entry of entries) {
      const file = join(next, entry.name);
      if (entry.isDirectory()) {
        if (!entry.name.startsWith('.')) remaining.push(file);
        continue;
      }
      const path = relative(folder, file).split(sep).join('/');
      if (!(entry.isFile() || entry.isSymbolicLink()) || !accepts(path)) continue;
      const found = await fileOf(file, folder, onMissing);
      if (found) yield found;
    }
  }
}

export function recordingOf(
  { source, path, bytes, version }: FoundRecording,
  name: string,
  options: StoredOptions,
): Recording {
  // A name from a bucket must not refer to a path outside of the results' folder.
  const safe = name.split('/').filter((part) => part !== '' && part !== '.' && part !== '..');
  return {
    id: recordingId(source, bytes, version, options),
    source,
    name: safe.join('/') || basename(path) || 'recording',
    bytes,
    options,
  };
}
