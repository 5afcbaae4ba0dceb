/** Where recordings come from: files, folders, patterns, lists, buckets, and a folder that is watched. */
import { existsSync, type Stats } from 'node:fs';
import { type FileHandle, open, opendir, stat } from 'node:fs/promises';
import { basename, dirname, join, posix, relative, resolve, sep } from 'node:path';
import picomatch from 'picomatch';
import { OneheadError, reasonOf, shown } from '../errors.js';
import { listBucket, openBucket } from './bucket-store.js';
import { recordingId } from './digest.js';
import { optional } from './optional.js';
import type { Recording, StoredOptions } from './queue.js';
import { bucketAddress } from './store.js';

/** What is taken from folders and buckets, by its name; a file that is named itself may be called anything. */
const audioNames =
  /\.(aac|ac3|aif|aiff|alac|amr|ape|asf|au|avi|caf|dts|flac|flv|m4a|m4b|m4v|mka|mkv|mov|mp2|mp3|mp4|mpeg|mpg|mpga|oga|ogg|ogv|opus|spx|ts|wav|wave|webm|wma|wmv|wv|3gp)$/i;

/** A recording before it has its place in the queue. */
interface Found {
  source: string;
  /** Its path below what was named, with slashes. */
  path: string;
  bytes: number;
  version: string;
}

const withoutExtension = (path: string) => path.replace(/(?<=[^/])\.[^./]{1,8}$/, '');

const notFound = (what: string, cause: unknown) =>
  new OneheadError('AUDIO_NOT_FOUND', `Cannot read ${shown(what)}: ${reasonOf(cause)}.`, { cause });

function foundFile(file: string, base: string, status: Stats): Found {
  const path = relative(base, file).split(sep).join('/');
  return { source: file, path, bytes: status.size, version: String(status.mtimeMs) };
}

/** Null for what is no file: it went away meanwhile, or is a link to a folder, which is not followed. */
async function fileOf(file: string, base: string): Promise<Found | null> {
  const status = await stat(file).catch(() => null);
  return status?.isFile() ? foundFile(file, base, status) : null;
}

/** All files below a folder that `wanted` takes, by their paths from it. Folders that begin with a dot are passed over: results' own. */
async function* filesIn(folder: string, wanted: (path: string) => boolean): AsyncGenerator<Found> {
  const left: string[] = [folder];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const entries = await opendir(next).catch((cause: unknown) => {
      throw notFound(next!, cause);
    });
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

const isPattern = (source: string) => /[*?[{]/.test(source) && !existsSync(source);

/** Files that a pattern such as recordings/**\/*.mp3 means. */
function matching(pattern: string): AsyncGenerator<Found> {
  const { base } = picomatch.scan(pattern);
  const rest = base === '' ? pattern : pattern.slice(base.length).replace(/^\//, '');
  return filesIn(resolve(base === '' ? '.' : base), picomatch(rest, { dot: false }));
}

async function* inBucket(address: string): AsyncGenerator<Found> {
  const place = bucketAddress(address)!;
  const { bucket, prefix } = place;
  const opened = await openBucket();
  try {
    // Of a folder or of one object: its name is the prefix of its own alone.
    for await (const { key, bytes, version } of listBucket(opened, place)) {
      const whole = key === prefix;
      const below = prefix === '' || key.startsWith(`${prefix}/`);
      if (!whole && !(below && audioNames.test(key))) continue;
      const path = whole ? posix.basename(key) : key.slice(prefix === '' ? 0 : prefix.length + 1);
      if (path.split('/').some((part) => part.startsWith('.'))) continue;
      yield { source: `s3://${bucket}/${key}`, path, bytes, version };
    }
  } finally {
    opened.client.destroy();
  }
}

/** Lines of a list, which name sources; empty ones and those that begin with # are passed over. */
async function* linesOf(list: string): AsyncGenerator<string> {
  let file: FileHandle | null = null;
  try {
    file = await open(list);
    for await (const text of file.readLines()) {
      const line = text.replace(/^\uFEFF/, '').trim();
      if (line.includes('\0')) throw new Error('it is no list of recordings, a source a line');
      if (line !== '' && !line.startsWith('#')) yield line;
    }
  } catch (cause) {
    throw cause instanceof OneheadError ? cause : notFound(`the list ${list}`, cause);
  } finally {
    await file?.close().catch(() => {}); // reading to the end has closed it
  }
}

/** What a source means. `within`: the lists in which it was named. */
async function* found(source: string, within: readonly string[] = []): AsyncGenerator<Found> {
  if (source.startsWith('s3://')) yield* inBucket(source);
  else if (source.startsWith('@')) {
    const list = resolve(source.slice(1));
    if (within.includes(list)) {
      throw new OneheadError('INVALID_ARGUMENT', `The list ${shown(list)} names itself; take that line out.`);
    }
    // Paths in a list are its own folder's.
    for await (const line of linesOf(list)) {
      const bucket = line.startsWith('s3://');
      const inner = line.startsWith('@') ? `@${resolve(dirname(list), line.slice(1))}` : resolve(dirname(list), line);
      yield* found(bucket ? line : inner, [...within, list]);
    }
  } else if (isPattern(source)) yield* matching(source);
  else {
    const file = resolve(source);
    const status = await stat(file).catch((cause: unknown) => {
      throw notFound(file, cause);
    });
    if (status.isDirectory()) yield* filesIn(file, (path) => audioNames.test(path));
    else if (status.isFile()) yield foundFile(file, dirname(file), status);
    else throw notFound(file, new Error('it is neither a file nor a folder'));
  }
}

function recordingOf({ source, path, bytes, version }: Found, name: string, options: StoredOptions): Recording {
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

/**
 * The recordings that sources mean: files, folders, patterns, lists (@FILE: a source a line) and s3://bucket/prefix. Results are called by the
 * path below what was named, without its extension; where two would be called the same, both keep theirs. Throws OneheadError
 * AUDIO_NOT_FOUND, INVALID_ARGUMENT for a list that names itself, or what opening a bucket throws.
 */
export async function recordingsOf(sources: readonly string[], options: StoredOptions): Promise<Recording[]> {
  const all = new Map<string, Found>();
  for (const source of sources) for await (const one of found(source)) all.set(one.source, one);
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

/**
 * Gives each recording in a folder and below, those that are there and those that come, once it has stopped growing; until `signal`, by which
 * it ends without an error. Where two would be called the same, results of the later replace those of the earlier.
 */
export async function watchFolder(
  folder: string,
  options: StoredOptions,
  onRecording: (recording: Recording) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const root = resolve(folder);
  if (!(await stat(root).catch(() => null))?.isDirectory()) {
    throw new OneheadError('AUDIO_NOT_FOUND', `There is no folder ${shown(folder)} to watch.`);
  }
  const { watch } = await optional(() => import('chokidar'), 'Watching a folder', 'chokidar');
  const watcher = watch(root, {
    awaitWriteFinish: { stabilityThreshold: 2000, pollInterval: 200 },
    ignored: (path, status) =>
      (path !== root && basename(path).startsWith('.')) || (status?.isFile() === true && !audioNames.test(path)),
  });
  let work: Promise<void> = Promise.resolve();
  await new Promise<void>((settle, fail) => {
    const take = (path: string) => {
      work = work.then(async () => {
        const one = await fileOf(path, root);
        if (one) await onRecording(recordingOf(one, withoutExtension(one.path), options));
      });
      work.catch(fail);
    };
    watcher.on('add', take).on('change', take);
    watcher.on('error', (cause) => fail(notFound(root, cause)));
    if (signal.aborted) settle();
    signal.addEventListener('abort', () => settle(), { once: true });
  }).finally(() => watcher.close());
  await work;
}
