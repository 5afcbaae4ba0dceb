/** Recordings as complete, unchanging files on this machine. */
import { constants, createWriteStream, type Stats } from 'node:fs';
import { mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { shown } from '../errors.js';
import { type Bucket, openBucket } from './bucket-store.js';
import { digestOf } from './digest.js';
import { fileError, noFile, objectError } from './failures.js';
import { type BucketAddress, bucketAddress } from './store.js';

export interface LocalFile {
  path: string;
  /** SHA-256 of its bytes. */
  digest: string;
  /** Throws if the file has changed since its digest was computed; that is retried. */
  check(): Promise<void>;
  /** Removes a downloaded file. */
  clean(): Promise<void>;
}

/** Changes whenever the file does. */
const versionOf = ({ dev, ino, size, mtimeMs }: Stats) => [dev, ino, size, mtimeMs].join();

/** Opens a file without blocking: a pipe in its place would block forever. */
async function digested(path: string, signal: AbortSignal): Promise<{ digest: string; version: string }> {
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    const status = await file.stat();
    if (!status.isFile()) throw noFile(path, status.isDirectory() ? 'it is a folder' : 'it is not a regular file');
    return { digest: await digestOf(file, status.size, signal), version: versionOf(status) };
  } finally {
    await file.close();
  }
}

async function localFile(path: string, signal: AbortSignal): Promise<LocalFile> {
  const { digest, version } = await digested(path, signal).catch((error: unknown) => {
    throw fileError(path, error);
  });
  const check = async () => {
    const status = await stat(path).catch((error: unknown) => {
      throw fileError(path, error);
    });
    if (versionOf(status) !== version) throw new Error(`${shown(path)} changed while it was read`);
  };
  return { path, digest, check, clean: async () => {} };
}

export class LocalFiles {
  #bucket: Promise<Bucket> | null = null;

  /** Throws OneheadError AUDIO_NOT_FOUND for permanent failures, and other errors for temporary ones. */
  async fetch(source: string, signal: AbortSignal): Promise<LocalFile> {
    const place = bucketAddress(source);
    return place === null ? localFile(source, signal) : this.#download(source, place, signal);
  }

  async #download(source: string, { bucket, prefix }: BucketAddress, signal: AbortSignal): Promise<LocalFile> {
    this.#bucket ??= openBucket();
    const { sdk, client } = await this.#bucket;
    const folder = await mkdtemp(join(tmpdir(), 'onehead-'));
    const clean = () => rm(folder, { recursive: true, force: true });
    // Its own name, since warnings may quote it, if this machine's file system supports it.
    const name = basename(prefix);
    const path = join(folder, Buffer.byteLength(name) > 200 ? 'recording' : name);
    try {
      const command = new sdk.GetObjectCommand({ Bucket: bucket, Key: prefix });
      const { Body } = await client.send(command, { abortSignal: signal }).catch((error: unknown) => {
        throw objectError(source, error);
      });
      await pipeline(Body as Readable, createWriteStream(path), { signal });
      const { digest } = await digested(path, signal);
      return { path, digest, check: async () => {}, clean };
    } catch (error) {
      await clean();
      throw error;
    }
  }

  async close(): Promise<void> {
    // If the bucket could not be opened, its recordings have failed with that error.
    (await this.#bucket?.catch(() => null))?.client.destroy();
    this.#bucket = null;
  }
}
