/** Files of audio in folders, and what they are called in a queue. */
import type { Stats } from 'node:fs';
import { opendir, stat } from 'node:fs/promises';
import { basename, join, relative, sep } from 'node:path';
import { OneheadError, reasonOf, shown } from '../errors.js';
import { recordingId } from './digest.js';
import type { Recording, StoredOptions } from './queue.js';

const audioEndings =
  /\.(aac|ac3|aif|aiff|alac|amr|ape|asf|au|avi|caf|dts|flac|flv|m4a|m4b|m4v|mka|mkv|mov|mp2|mp3|mp4|mpeg|mpg|mpga|oga|ogg|ogv|opus|spx|ts|wav|wave|webm|wma|wmv|wv|3gp)$/i;

/**
 * True for names of files that are taken from folders and buckets; a file that is named itself may have any name. Names
 * that begin with a dot are unfinished copies, or belong to another system.
 */
export const hasAudioName = (path: string) => audioEndings.test(path) && !/(^|\/)\.[^/]*$/.test(path);

/** A recording before it has its place in the queue. */
export interface FoundRecording {
  source: string;
  /** Its path below what was named, with slashes. */
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

/** Null for what is no file: it went away meanwhile, or is a link to a folder, which is not followed. */
async function fileOf(file: string, base: string): Promise<FoundRecording | null> {
  const status = await stat(file).catch(() => null);
  return status?.isFile() ? foundFile(file, base, status) : null;
}

/**
 * All files below a folder that `wanted` takes, by their paths from it. Folders that begin with a dot are passed over:
 * results' own. A folder that cannot be read is `missed`, which throws unless it is given.
 */
export async function* filesIn(
  folder: string,
  wanted: (path: string) => boolean,
  missed: (error: OneheadError) => void = (error) => {
    throw error;
  },
): AsyncGenerator<FoundRecording> {
  const left: string[] = [folder];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const entries = await opendir(next).catch((cause: unknown) => missed(notFound(next!, cause)));
    if (!entries) continue;
    for await (const entry of entries) {
      const file = join(next, entry.name);
      if (entry.isDirectory()) {
        if (!entry.name.startsWith('.')) left.push(file);
        continue;
      }
      const path = relative(folder, file).split(sep).join('/');
      if (!(entry.isFile() || entry.isSymbolicLink()) || !wanted(path)) continue;
      const found = await fileOf(file, folder);
      if (found) yield found;
    }
  }
}

export function recordingOf(
  { source, path, bytes, version }: FoundRecording,
  name: string,
  options: StoredOptions,
): Recording {
  // A name from a bucket must not lead out of the folder of results.
  const safe = name.split('/').filter((part) => part !== '' && part !== '.' && part !== '..');
  return {
    id: recordingId(source, bytes, version, options),
    source,
    name: safe.join('/') || basename(path) || 'recording',
    bytes,
    options,
  };
}
