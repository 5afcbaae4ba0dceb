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
  notFound,
  recordingOf,
  withoutExtension,
} from './files.js';
import type { Recording, StoredOptions } from './queue.js';
import { bucketAddress } from './store.js';

const isPattern = (source: string) => /[*?[{]/.test(source) && !existsSync(source);

/** Files that match a pattern such as recordings/**\/*.mp3. */
function matching(pattern: string): AsyncGenerator<FoundRecording> {
  const { base } = picomatch.scan(pattern);
  const rest = base === '' ? pattern : pattern.slice(base.length).replace(/^\//, '');
  return filesIn(resolve(base === '' ? '.' : base), picomatch(rest, { dot: false }));
}

async function* inBucket(address: string): AsyncGenerator<FoundRecording> {
  const place = bucketAddress(address)!;
  const { bucket, prefix } = place;
  const opened = await openBucket();
  try {
    // The address is a prefix or an object, which is also a prefix of itself.
    for await (const { key, bytes, version } of listBucket(opened, place)) {
      const whole = key === prefix;
      const below = prefix === '' || key.startsWith(`${prefix}/`);
      if (!whole && !(below && hasAudioName(key))) continue;
      const path = whole ? posix.basename(key) : key.slice(prefix === '' ? 0 : prefix.length + 1);
      if (path.split('/').some((part) => part.startsWith('.'))) continue;
      yield { source: `s3://${bucket}/${key}`, path, bytes, version };
    }
  } finally {
    opened.client.destroy();
  }
}

type Missed = (error: OneheadError) => void;

/** Lines of a list, which name sources, with their numbers; empty lines and those that begin with # are skipped. */
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
    await file?.close().catch(() => {}); // reading to the end has closed it
  }
}

/** Expands a source. `missed` is called for lines that name nothing. `within`: the lists that contain it. */
async function* found(source: string, missed: Missed, within: readonly string[] = []): AsyncGenerator<FoundRecording> {
  if (source.startsWith('s3://')) yield* inBucket(source);
  else if (source.startsWith('@')) {
    const list = resolve(source.slice(1));
    if (within.includes(list)) {
      throw new OneheadError('INVALID_ARGUMENT', `The list ${shown(list)} contains itself; remove that line.`);
    }
    // Paths in a list are relative to its folder.
    for await (const [line, number] of linesOf(list)) {
      const bucket = line.startsWith('s3://');
      const inner = line.startsWith('@') ? `@${resolve(dirname(list), line.slice(1))}` : resolve(dirname(list), line);
      try {
        yield* found(bucket ? line : inner, missed, [...within, list]);
      } catch (cause) {
        if (!(cause instanceof OneheadError) || cause.code !== 'AUDIO_NOT_FOUND') throw cause;
        missed(new OneheadError(cause.code, `Line ${number} of ${shown(list, 80)}: ${cause.message}`, { cause }));
      }
    }
  } else if (isPattern(source)) yield* matching(source);
  else {
    const file = resolve(source);
    const status = await stat(file).catch((cause: unknown) => {
      throw notFound(file, cause);
    });
    if (status.isDirectory()) yield* filesIn(file, hasAudioName);
    else if (status.isFile()) yield foundFile(file, dirname(file), status);
    else throw notFound(file, new Error('it is neither a file nor a folder'));
  }
}

/**
 * The recordings of sources: files, folders, patterns, lists (@FILE with a source on each line) and s3://bucket/prefix.
 * Results are named after the path relative to the source, without extension; if two would have the same name, both
 * keep theirs. `missed` is called for each line of a list that names nothing, and the others are used; without it, that
 * throws. Throws OneheadError AUDIO_NOT_FOUND, INVALID_ARGUMENT for a list that contains itself, or the errors of
 * opening a bucket.
 */
export async function recordingsOf(
  sources: readonly string[],
  options: StoredOptions,
  missed: Missed = (error) => {
    throw error;
  },
): Promise<Recording[]> {
  const all = new Map<string, FoundRecording>();
  for (const source of sources) for await (const one of found(source, missed)) all.set(one.source, one);
  const named = new Map<string, number>();
  for (const { path } of all.values()) {
    const name = withoutExtension(path);
    named.set(name, (named.get(name) ?? 0) + 1);
  }
  return [...all.values()].map((one) => {
    const name = withoutExtension(one.path);
    return recordingOf(one, named.get(name)! > 1 ? one.path : name, options);
  });
}
