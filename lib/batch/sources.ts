/** Finds recordings: files, folders, patterns, lists and buckets. */
import { existsSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { dirname, posix, resolve } from 'node:path';
import picomatch from 'picomatch';
import { OneheadError, shown } from '../errors.js';
import { listBucket, openBucket } from './bucket-store.js';
import {
  type FoundRecording,
  filesIn,
  foundFile,
  hasAudioName,
  type MissingHandler,
  notFound,
  recordingOf,
  withoutExtension,
} from './files.js';
import type { Recording, StoredOptions } from './queue.js';
import { bucketAddress } from './store.js';

const isPattern = (source: string) => /[*?[{]/.test(source) && !existsSync(source);

/** Files that match a pattern such as recordings/**\/*.mp3. */
function matching(pattern: string, onMissing: MissingHandler): AsyncGenerator<FoundRecording> {
  const { base } = picomatch.scan(pattern);
  const rest = base === '' ? pattern : pattern.slice(base.length).replace(/^\//, '');
  return filesIn(resolve(base === '' ? '.' : base), picomatch(rest, { dot: false }), undefined, onMissing);
}

async function* inBucket(address: string): AsyncGenerator<FoundRecording> {
  const parsed = bucketAddress(address)!;
  const { bucket, prefix } = parsed;
  const opened = await openBucket();
  try {
    // The address may be that of a single object, whose key is listed as a prefix of itself.
    for await (const { key, bytes, version } of listBucket(opened, parsed)) {
      const isObject = key === prefix;
      const isBelow = prefix === '' || key.startsWith(`${prefix}/`);
      if (!isObject && !(isBelow && hasAudioName(key))) continue;
      const path = isObject ? posix.basename(key) : key.slice(prefix === '' ? 0 : prefix.length + 1);
      if (path.split('/').some((part) => part.startsWith('.'))) continue;
      yield { source: `s3://${bucket}/${key}`, path, bytes, version };
    }
  } finally {
    opened.client.destroy();
  }
}

/** The lines of a list with their numbers, except empty lines and comments, which begin with #. */
async function* linesOf(list: string): AsyncGenerator<[string, number]> {
  let number = 0;
  let file: FileHandle | null = null;
  try {
    file = await open(list);
    for await (const text of file.readLines()) {
      number += 1;
      const line = text.replace(/^\uFEFF/, '').trim();
      if (line.includes('\0')) throw new Error('it is not a list of recordings with one source on each line');
      if (line !== '' && !line.startsWith('#')) yield [line, number];
    }
  } catch (cause) {
    throw cause instanceof OneheadError ? cause : notFound(`the list ${list}`, cause);
  } finally {
    await file?.close().catch(() => {}); // it is closed already if it was read to the end
  }
}

/**
 * Expands a source. `onMissing` is called for lines whose source does not exist. `parents` are the lists that contain
 * the source.
 */
async function* expand(
  source: string,
  onMissing: MissingHandler,
  parents: readonly string[] = [],
): AsyncGenerator<FoundRecording> {
  if (source.startsWith('s3://')) yield* inBucket(source);
  else if (source.startsWith('@')) {
    const list = resolve(source.slice(1));
    if (parents.includes(list)) {
      throw new OneheadError('INVALID_ARGUMENT', `The list ${shown(list)} contains itself; remove that line.`);
    }
    // Paths in a list are relative to its folder.
    for await (const [line, number] of linesOf(list)) {
      const isBucket = line.startsWith('s3://');
      const path = line.startsWith('@') ? `@${resolve(dirname(list), line.slice(1))}` : resolve(dirname(list), line);
      try {
        yield* expand(isBucket ? line : path, onMissing, [...parents, list]);
      } catch (cause) {
        if (!(cause instanceof OneheadError) || cause.code !== 'AUDIO_NOT_FOUND') throw cause;
        onMissing(new OneheadError(cause.code, `Line ${number} of ${shown(list, 80)}: ${cause.message}`, { cause }));
      }
    }
  } else if (isPattern(source)) yield* matching(source, onMissing);
  else {
    const file = resolve(source);
    const status = await stat(file).catch((cause: unknown) => {
      throw notFound(file, cause);
    });
    if (status.isDirectory()) yield* filesIn(file, hasAudioName, undefined, onMissing);
    else if (status.isFile()) yield foundFile(file, dirname(file), status);
    else throw notFound(file, new Error('it is neither a file nor a folder'));
  }
}

/**
 * The recordings of sources: files, folders, patterns, lists (@FILE with a source on each line) and s3://bucket/prefix.
 * Results are named after the path relative to the source, without its extension unless two names would be equal.
 *
 * `onMissing` is called for each line of a list whose source does not exist, and for each file in a folder that cannot
 * be examined, such as a broken link; without it, that throws. Throws OneheadError AUDIO_NOT_FOUND, INVALID_ARGUMENT
 * for a list that contains itself, or the errors of opening a bucket.
 */
export async function recordingsOf(
  sources: readonly string[],
  options: StoredOptions,
  onMissing: MissingHandler = (error) => {
    throw error;
  },
): Promise<Recording[]> {
  const bySource = new Map<string, FoundRecording>();
  for (const source of sources) for await (const found of expand(source, onMissing)) bySource.set(found.source, found);
  const nameCounts = new Map<string, number>();
  for (const { path } of bySource.values()) {
    const name = withoutExtension(path);
    nameCounts.set(name, (nameCounts.get(name) ?? 0) + 1);
  }
  return [...bySource.values()].map((found) => {
    const name = withoutExtension(found.path);
    return recordingOf(found, nameCounts.get(name)! > 1 ? found.path : name, options);
  });
}
