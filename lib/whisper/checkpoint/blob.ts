/**
 * Stores downloaded files, so that no file under its final name is incomplete or mixed from two downloads. Other
 * processes, or containers that share the folder, may download the same file at the same time.
 */
import { createHash, randomUUID } from 'node:crypto';
import { access, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { shown } from '../../errors.js';
import { makeFolder } from '../../make-folder.js';
import { unlessAborted } from '../../signals.js';

/** The content of a response. */
export const readableOf = (content: Blob): Readable => Readable.fromWeb(content.stream() as ReadableStream);

export interface BlobDownload {
  /** The file's name in messages. */
  name: string;
  size: number;
  /** The SHA-256 in hexadecimal, if it is known. */
  sha256: string | null;
  content(): Promise<Readable>;
  /** Called with the number of bytes so far. */
  onBytes(loaded: number): void;
  signal?: AbortSignal;
}

/** Milliseconds after its last write at which a partial file counts as left by a process that ended. */
const abandonedAfter = 24 * 3600 * 1000;

/** The running downloads of this process, by target. */
const running = new Map<string, Promise<void>>();

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** Removes old partial files in a folder. Those of Python's huggingface_hub have no unique part, and are kept. */
async function removeAbandoned(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names.filter((one) => /\.(\d+|[0-9a-f-]{36})\.incomplete$/.test(one))) {
    const path = join(folder, name);
    const status = await stat(path).catch(() => null);
    if (status && Date.now() - status.mtimeMs > abandonedAfter) await rm(path, { force: true }).catch(() => {});
  }
}

/** Downloads to a file that no other download has, and gives it the name `target` once it is complete and correct. */
async function download(target: string, { name, size, sha256, content, onBytes, signal }: BlobDownload): Promise<void> {
  makeFolder(dirname(target));
  await removeAbandoned(dirname(target));
  const partial = `${target}.${randomUUID()}.incomplete`;
  const hash = createHash('sha256');
  let loaded = 0;
  const file = await open(partial, 'wx');
  const write = async (chunks: AsyncIterable<Uint8Array>) => {
    for await (const chunk of chunks) {
      loaded += chunk.length;
      hash.update(chunk);
      await file.writeFile(chunk); // at the current position
      onBytes(loaded);
    }
  };
  try {
    await pipeline(await content(), write, { signal });
    if (loaded !== size) throw new Error(`${shown(name, 100)} ended after ${loaded} of ${size} bytes`);
    if (sha256 !== null && hash.digest('hex') !== sha256) {
      throw new Error(`${shown(name, 100)} arrived with wrong bytes (its SHA-256 differs from the hub's)`);
    }
    await file.sync(); // before the name, which promises the content
    await file.close();
    await rename(partial, target);
  } finally {
    await file.close().catch(() => {}); // closed already if all went well
    await rm(partial, { force: true });
  }
}

/**
 * Stores a download as `target`, unless that exists. Of several calls for one target, one at a time downloads; the
 * others wait for it, and download themselves only if it fails.
 */
export async function storeBlob(target: string, blob: BlobDownload): Promise<void> {
  for (let other = running.get(target); other; other = running.get(target)) {
    await unlessAborted(
      other.catch(() => {}),
      blob.signal,
    );
  }
  // Registered before the first await, so that no other call begins.
  const work = (async () => {
    if (await exists(target)) blob.onBytes(blob.size);
    else await download(target, blob);
  })();
  running.set(target, work);
  try {
    await work;
  } finally {
    running.delete(target);
  }
}
